"""Guards of plans, policies and bulk acts, to be taken out one at a time; see mutants.py."""

from tests.mutants.guard import FALSE, GONE, Guard

PLANNING: tuple[Guard, ...] = (
    (
        "siblings of one tick",
        "    WHERE among_its_own = 1\n",
        "    WHERE TRUE\n",
        "tests/rotation/test_policies.py -k in_turn",
    ),
    (
        "a sibling that moves",
        "WHERE moving.application_id = key.application_id AND moving.key_id <> key.id",
        "WHERE FALSE",
        "tests/rotation/test_policies.py -k in_turn",
    ),
    (
        "changed meanwhile",
        "    if not seen or last is None or str(last.seq) == seen:",
        "    if True:",
        "tests/rotation/test_set_up_views.py -k stale",
    ),
    (
        "only one's own keys in bulk",
        FALSE,
        "tests/rotation/test_bulk.py -k nobody_rotates",
    ),
    (
        "planned ones begin in their window",
        "        opens = windows.next_open(self.now, window, frozen, zone) == self.now",
        "        opens = True",
        "tests/rotation/test_bulk.py -k spreads",
    ),
    (
        "planned ones are spread",
        "    return min(math.floor(total * share) + 1, total) - begun",
        "    return total",
        "tests/rotation/test_bulk.py -k spreads",
    ),
    (
        "late, but in no freeze",
        "    return windows.next_open(now, None, frozen, ZoneInfo(policy.time_zone)) == now",
        "    return True",
        "tests/rotation/test_levels.py -k missed_window",
    ),
    (
        "a freeze as long as a maximum age",
        "    if tight is None or tight.max_age_days is None or days < tight.max_age_days:",
        "    if True:",
        "tests/rotation/test_levels.py -k covers_a_maximum",
    ),
    (
        "a level that a key cannot keep",
        GONE,
        "tests/rotation/test_levels.py -k impossible_level",
    ),
    (
        "freezes of a calendar end with it",
        FALSE,
        "tests/rotation/test_freeze_feeds.py -k follow_it",
    ),
    (
        "views are one's own",
        "    SavedView.objects.filter(member=member, pk=view_id).delete()",
        "    SavedView.objects.filter(pk=view_id).delete()",
        "tests/rotation/test_bulk.py -k ones_own",
    ),
    (
        "an account's address stays",
        GONE,
        "tests/rotation/test_set_up_views.py -k nowhere_else",
    ),
    (
        "policies are written in turn",
        GONE,
        "tests/rotation/test_levels.py -k no_setting_is_lost",
    ),
    (
        "levels are carried in turn",
        "    lock_policies()\n    levels, freezes, changed",
        "    levels, freezes, changed",
        "tests/rotation/test_levels.py -k no_setting_is_lost",
    ),
    (
        "a freeze can be ended",
        "        replan(environment, strict=False)",
        "        replan(environment)",
        "tests/rotation/test_levels.py -k always_be_ended",
    ),
    (
        "level carried in the request's order",
        "        lock_policies()\n        level = waiting",
        "        level = waiting",
        "tests/rotation/test_replanning.py -k order_of_the_request",
    ),
    (
        "replanning reads under the lock",
        "        inheritance.lock_policies()\n        one =",
        "        one =",
        "tests/rotation/test_replanning.py -k passed_over",
    ),
    (
        "account settings within their bounds",
        FALSE,
        "tests/keyvault/test_account_settings.py -k bounds",
    ),
)
