"""Guards of who is known to hold a key: each as name, file, old, new and tests."""

HOLDERS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "another copy is noted before it is given anything from memory",
        "keyvault/fetching.py",
        "    if found is None or _seen.get((name, place, copy), now) is None:",
        "    if found is None:",
        "tests/keyvault/test_copies.py -k each_copy_is_noted",
    ),
    (
        "made up ids fill no table",
        "keyvault/migrations/0011_copies.py",
        "HAVING count(*) > most ORDER",
        "HAVING count(*) > most + 1000 ORDER",
        "tests/keyvault/test_copies.py -k rest_is_counted",
    ),
    (
        "made up ids lose no copy that holds a key",
        "keyvault/migrations/0011_copies.py",
        "copies = least(held.copies::bigint + excluded.copies, 1000000)",
        "copies = excluded.copies",
        "tests/keyvault/test_copies.py -k rest_is_counted",
    ),
    (
        "an id of a copy has a shape",
        "keyvault/copies.py",
        "    if not re.fullmatch(PATTERN, said):",
        "    if False:",
        "tests/keyvault/test_copies.py -k odd_id",
    ),
    (
        "a proof speaks for one copy",
        "keyvault/copies.py",
        "Fetch.objects.filter(token=token, key=key, instance=copy).exclude",
        "Fetch.objects.filter(token=token, key=key).exclude",
        "tests/keyvault/test_copies.py -k speaks_for_one_copy",
    ),
    (
        "a copy from before is known once",
        "keyvault/migrations/0011_copies.py",
        "AND the_copy <> '' THEN",
        "AND false THEN",
        "tests/keyvault/test_copies.py -k first_that_comes",
    ),
    (
        "the longest pause is a copy's rhythm",
        "keyvault/migrations/0011_copies.py",
        "pause_seconds = CASE WHEN PAUSED",
        "pause_seconds = CASE WHEN true",
        "tests/keyvault/test_copies.py -k longest_pause",
    ),
)
