"""Guards of who is known to hold a key: name, change and tests."""

from tests.mutants.guard import FALSE, Guard

HOLDERS: tuple[Guard, ...] = (
    (
        "another copy is noted before it is given anything from memory",
        "    if found is None or _seen.get((name, place, copy), now) != _tag_of(found):",
        "    if found is None:",
        "tests/keyvault/test_copies.py -k each_copy_is_noted",
    ),
    (
        "a copy is noted with what it was given from memory",
        "_seen.get((name, place, copy), now) != _tag_of(found):",
        "_seen.get((name, place, copy), now) is None:",
        "tests/rotation/test_holders.py -k one_of_two",
    ),
    (
        "made up ids fill no table",
        "HAVING count(*) > most ORDER",
        "HAVING count(*) > most + 1000 ORDER",
        "tests/keyvault/test_copies.py -k rest_is_counted",
    ),
    (
        "made up ids lose no copy that holds a key",
        "copies = least(held.copies::bigint + excluded.copies, 1000000)",
        "copies = excluded.copies",
        "tests/keyvault/test_copies.py -k rest_is_counted",
    ),
    (
        "an id of a copy has a shape",
        FALSE,
        "tests/keyvault/test_copies.py -k odd_id",
    ),
    (
        "a proof speaks for one copy",
        "TokenKeyVersion.objects.filter(token=token, key=key, instance=copy).exclude",
        "TokenKeyVersion.objects.filter(token=token, key=key).exclude",
        "tests/keyvault/test_copies.py -k speaks_for_one_copy",
    ),
    (
        "a copy from before is known once",
        "AND the_copy <> '' THEN",
        "AND false THEN",
        "tests/keyvault/test_copies.py -k first_that_comes",
    ),
    (
        "the longest pause is a copy's rhythm",
        "pause_seconds = CASE WHEN PAUSED",
        "pause_seconds = CASE WHEN true",
        "tests/keyvault/test_copies.py -k longest_pause",
    ),
    (
        "one copy that moved is not all",
        "        return said and not self._left()\n",
        "        return said\n",
        "tests/rotation/test_holders.py -k one_of_two",
    ),
    (
        "to fetch the new version is no proof",
        "(row.version_id == new and row.former_id is None)",
        "row.version_id == new",
        "tests/rotation/test_holders.py -k one_of_two",
    ),
    (
        "what is no consumer in use holds a key too",
        "        if token_id not in found:\n",
        "        if token_id not in found:\n            continue\n        if False:\n",
        "tests/rotation/test_holders.py -k dead_token",
    ),
    (
        "the vendor is silent for longer than a holder",
        "    if word.quiet and word.lasted >= away:",
        "    if word.quiet:",
        "tests/rotation/test_holders.py -k each_night",
    ),
    (
        "one fetch is no rhythm",
        "known or _UNKNOWN, min(",
        "known, min(",
        "tests/rotation/test_holders.py -k each_night",
    ),
    (
        "a consumer that proved nothing is not let go as gone",
        "        return not (gone and self.proof and self.proof.version_id == self.switch.new)",
        "        return not gone",
        "tests/rotation/test_holders.py -k went_away",
    ),
    (
        "the default quiet period follows the slowest holder",
        "    return max(least, holders.slowest(key, version_id))",
        "    return least",
        "tests/rotation/test_holders.py -k own_rhythm",
    ),
    (
        "who deletes by hand sees who holds the key",
        '    whole = f"{text}{_still_holding(rotation, version)}"[:TASK_TEXT]',
        "    whole = text",
        "tests/rotation/test_holders.py -k task_to_delete",
    ),
    (
        "a waiver names whom it outvotes",
        "not_moved=outvoted)",
        "not_moved=[])",
        "tests/rotation/test_holders.py -k whom_it_outvoted",
    ),
    (
        "a waiver speaks for whom it named",
        "if not (one.moved or one.waived)]",
        "if not (one.moved or rotation.waived_at)]",
        "tests/rotation/test_waivers.py -k after_the_waiver",
    ),
    (
        "a waiver speaks for no copy that came later",
        "all(spoken_for.get(one, -1) >= count for one, count in self.identities().items())",
        "str(self.token.pk) in spoken_for",
        "tests/rotation/test_waivers.py -k copy_that_comes",
    ),
    (
        "who came after a waiver is told by name",
        "long or rotation.waived_at or",
        "long or",
        "tests/rotation/test_waivers.py -k after_the_waiver",
    ),
    (
        "a program is acknowledged when it stayed up",
        "if self._wishes.ready else time.monotonic() >= self._settles_at():",
        "if self._wishes.ready else True:",
        "tests/end_to_end/test_keyvault_run.py -k before_it_stayed_up",
    ),
    (
        "a program's own command is asked",
        "        return asked.returncode == 0",
        "        return True",
        "tests/end_to_end/test_keyvault_run.py -k own_command",
    ),
    (
        "the wrapper says which copy it is",
        '            "X-Keyvault-Instance": self._instance,\n',
        "",
        "tests/end_to_end/test_keyvault_run.py -k for_itself",
    ),
)
