#!/usr/bin/env bash
# What:    a nightly schedule, 30 2 * * * in Europe/Berlin, over both changes of the clock.
# Version: croniter 7.0.0 (PyPI), croner 11.0.1 and cron-parser 5.10.6 (npm).
# Guess:   once a night in all three; in spring at 03:30, in autumn at the first 02:30.
# Happens: in autumn croniter gives both 02:30, an hour apart; the others one. In spring croniter and
#          croner give 03:00, a time the expression does not name, and cron-parser gives 03:30.
#          At 0 */2 * * * in spring croner leaves a run out, the others move it to 03:00.
# Why:     a rotation planned so runs twice in one night: with a limit of two keys at the vendor the
#          second run ends the key that the first has only just replaced.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
    croniter==7.0.0 tzdata==2026.6 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
npm install --no-audit --no-fund --prefix "$folder" croner@11.0.1 cron-parser@5.10.6 \
    >"$folder/npm.log" 2>&1 || { cat "$folder/npm.log"; exit 1; }

cat >"$folder/next.mjs" <<'NODE'
import { Cron } from "croner";
import { CronExpressionParser } from "cron-parser";
const zone = "Europe/Berlin";
const seen = { croner: {}, "cron-parser": {} };
for (const [name, [line, start, count]] of Object.entries(JSON.parse(process.argv[2]))) {
  const from = new Date(start);
  const text = (when) => when.toISOString().slice(5, 16);
  seen.croner[name] = new Cron(line, { timezone: zone, paused: true }).nextRuns(count, from).map(text);
  const times = CronExpressionParser.parse(line, { tz: zone, currentDate: from });
  seen["cron-parser"][name] = Array.from({ length: count }, () => text(times.next().toDate()));
}
console.log(JSON.stringify(seen));
NODE

"$folder/venv/bin/python" - <<'PYTHON'
import datetime
import importlib.metadata as packages
import json
import subprocess
import sys
from zoneinfo import ZoneInfo

from croniter import croniter

# The line, the moment it is asked at (UTC), and how many times are asked for.
asked = {
    "autumn": ["30 2 * * *", "2026-10-24T12:00:00Z", 3],
    "spring": ["30 2 * * *", "2026-03-28T12:00:00Z", 2],
    "spring, every two hours": ["0 */2 * * *", "2026-03-28T22:30:00Z", 3],
}
# All in UTC. Berlin is two hours ahead in summer and one in winter.
expected = {
    "croniter": {
        "autumn": ["10-25T00:30", "10-25T01:30", "10-26T01:30"],
        "spring": ["03-29T01:00", "03-30T00:30"],
        "spring, every two hours": ["03-28T23:00", "03-29T01:00", "03-29T02:00"],
    },
    "croner": {
        "autumn": ["10-25T00:30", "10-26T01:30", "10-27T01:30"],
        "spring": ["03-29T01:00", "03-30T00:30"],
        "spring, every two hours": ["03-28T23:00", "03-29T02:00", "03-29T04:00"],
    },
    "cron-parser": {
        "autumn": ["10-25T00:30", "10-26T01:30", "10-27T01:30"],
        "spring": ["03-29T01:30", "03-30T00:30"],
        "spring, every two hours": ["03-28T23:00", "03-29T01:00", "03-29T02:00"],
    },
}


def times(line, start, count):
    moment = datetime.datetime.fromisoformat(start).astimezone(ZoneInfo("Europe/Berlin"))
    runs = croniter(line, moment)
    found = [runs.get_next(datetime.datetime) for _ in range(count)]
    return [one.astimezone(datetime.timezone.utc).strftime("%m-%dT%H:%M") for one in found]


node = subprocess.run(
    ["node", "next.mjs", json.dumps(asked)], check=True, capture_output=True, text=True, timeout=30
)
seen = {"croniter": {name: times(*what) for name, what in asked.items()}, **json.loads(node.stdout)}
print("croniter", packages.version("croniter"), "croner 11.0.1, cron-parser 5.10.6; times in UTC")
for name in asked:
    for library, answers in seen.items():
        print(f"{name:24} {library:12} {answers[name]}; expected {expected[library][name]}")
sys.exit("the behaviour changed" if seen != expected else 0)
PYTHON
