"""Guards of directories and calendars: name, change and tests."""

from tests.mutants.guard import FALSE, GONE, Guard

_SHAPES = "tests/keyvault/test_scim_shapes.py"
_PEOPLE = "tests/keyvault/test_scim_people.py"
_FILES = "tests/rotation/test_calendar_files.py"
_FEEDS = "tests/rotation/test_freeze_feeds.py"

DIRECTORIES: tuple[Guard, ...] = (
    (
        "what a directory says and is not known is refused",
        "_POLICY = ScimPolicy(\n",
        "_POLICY = ScimPolicy(\n    unknown=ScimPolicy.Unknown.ignore,\n",
        f"{_SHAPES} -k not_understood",
    ),
    (
        "an attribute given twice in another case",
        FALSE,
        "tests/keyvault/test_scim_shapes.py -k not_understood",
    ),
    (
        "attributes under the schema's URN",
        FALSE,
        "tests/keyvault/test_scim_shapes.py -k put_deactivates",
    ),
    (
        "single values sent as lists",
        FALSE,
        "tests/keyvault/test_scim_shapes.py -k is_done",
    ),
    (
        "active cannot be taken away",
        FALSE,
        "tests/keyvault/test_scim_shapes.py -k not_understood",
    ),
    (
        "who is to be inactive is made inactive",
        "    member = Member(is_active=active)",
        "    member = Member(is_active=True)",
        f"{_SHAPES} -k nobody_is_made",
    ),
    (
        "nobody who left comes back by the directory",
        FALSE,
        "tests/keyvault/test_scim_people.py -k refused_return",
    ),
    (
        "a refused return is over when the directory gives in",
        "    hooks.close_return_request(member)\n    return member",
        "    return member",
        f"{_PEOPLE} -k refused_return",
    ),
    (
        "who was deleted is not there",
        "    found = Member.objects.exclude(gone)",
        "    found = Member.objects.exclude(Q(pk=None))",
        f"{_PEOPLE} -k deleted",
    ),
    (
        "an address that was given up opens nothing",
        "    EmailAddress.objects.filter(user=member).delete()",
        "    EmailAddress.objects.none().delete()",
        f"{_PEOPLE} -k new_name",
    ),
    (
        "owners hear of a person named twice",
        '        raise _known_already(asked[0], but=member_id) from None',
        '        raise Conflict(_("No."), code="name_used") from None',
        f"{_PEOPLE} -k another_person_has",
    ),
    (
        "broken dates of an event",
        "    return bool(noted & _WHEN) or not",
        "    return not",
        f"{_FILES} -k visible_and_named",
    ),
    (
        "a calendar that was cut off",
        FALSE,
        "tests/rotation/test_calendar_files.py -k cut_off",
    ),
    (
        "cancelled single dates",
        "        if not is_off(part):",
        "        if True:",
        f"{_FILES} -k read_exactly",
    ),
    (
        "a cancellation by a later revision",
        "    kept = [part for part in kept if not is_main(part) or sequence(part) > off]",
        "    kept = [part for part in kept if not is_main(part) or not is_off(part)]",
        f"{_FILES} -k read_exactly",
    ),
    (
        "events of one UID and revision",
        "    return [*found, *_doubles(parts, within)]",
        "    return found",
        f"{_FILES} -k read_exactly",
    ),
    (
        "the days of a time in UTC",
        "        days = [_days(start.astimezone(zone), end.astimezone(zone)) for zone in zones]",
        "        days = [_days(start, end) for zone in zones]",
        f"{_FILES} -k in_utc_alone",
    ),
    (
        "an end of a series that the standard forbids",
        GONE,
        "tests/rotation/test_calendar_files.py -k standard_forbids",
    ),
    (
        "the zone of a calendar",
        "            calendar = x_wr_timezone.to_standard(one) if zoned else one",
        "            calendar = one",
        f"{_FILES} -k read_exactly",
    ),
    (
        "a calendar that is empty all at once",
        "    if reading.found == 0 and",
        "    if False and",
        f"{_FEEDS} -k empty_all_at_once",
    ),
    (
        "what was not read exactly is told at once",
        GONE,
        "tests/rotation/test_freeze_feeds.py -k named_at_once",
    ),
    (
        "a new calendar that cannot be read is told at once",
        " or feed.read_at is None:",
        ":",
        f"{_FEEDS} -k told_at_once",
    ),
    (
        "a calendar's freeze comes before a maximum age",
        "    if feed is None:\n        _require_ages_left(freeze)",
        "    _require_ages_left(freeze)",
        f"{_FEEDS} -k lost_key_age",
    ),
)  # fmt: skip
