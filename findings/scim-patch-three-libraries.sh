#!/usr/bin/env bash
# What:    PATCH bodies as large directories send them, applied by three SCIM libraries, as they come.
# Version: scim2-models 0.12.3 (PyPI), scim-patch 0.8.3 and scimmy 1.3.5 (npm).
# Guess:   they differ in strictness about types and agree about what a well-typed PATCH does.
# Happens: add to emails[type eq "other"].value where none is: scim-patch adds one, the others refuse.
#          A second primary address: only scim2-models takes the flag from the first. An address or
#          member added again: scimmy keeps it twice. Members removed by a value beside the path:
#          scim2-models refuses (it and the first can be allowed). "False" for active: false, refused
#          by scimmy, kept as text by scim-patch. DisplayName: a second attribute in scim-patch.
# Why:     who may see which key follows these records; what one directory's test proves about one
#          library says nothing about the next.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
    scim2-models==0.12.3 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
npm install --no-audit --no-fund --prefix "$folder" scim-patch@0.8.3 scimmy@1.3.5 \
    >"$folder/npm.log" 2>&1 || { cat "$folder/npm.log"; exit 1; }

cat >"$folder/cases.json" <<'JSON'
{
  "user": {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": "1", "userName": "sample", "active": true,
    "emails": [
      {"value": "a@example.com", "type": "work", "primary": true}, {"value": "b@example.com", "type": "home"}
    ]
  },
  "group": {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "id": "2", "displayName": "readers",
    "members": [{"value": "1"}, {"value": "2"}]
  },
  "changes": {
    "false as text": ["user", {"op": "Replace", "path": "active", "value": "False"}],
    "add to no address": ["user", {"op": "Add", "path": "emails[type eq \"other\"].value", "value": "c@example.com"}],
    "second primary": ["user", {"op": "Add", "path": "emails", "value": [{"value": "c@example.com", "primary": true}]}],
    "address again": ["user", {"op": "Add", "path": "emails", "value": [{"value": "b@example.com", "type": "home"}]}],
    "other case": ["user", {"op": "Replace", "path": "DisplayName", "value": "Sample"}],
    "member again": ["group", {"op": "Add", "path": "members", "value": [{"value": "1"}]}],
    "remove by value": ["group", {"op": "Remove", "path": "members", "value": [{"value": "2"}]}]
  }
}
JSON

cat >"$folder/apply.mjs" <<'NODE'
import fs from "node:fs";
import { scimPatch } from "scim-patch";
import SCIMMY from "scimmy";
const { user, group, changes } = JSON.parse(fs.readFileSync("cases.json", "utf8"));
const copy = (value) => JSON.parse(JSON.stringify(value));
const told = (of, after) => {
  if (of === "group") return after.members.map((one) => one.value).join(" ");
  const mails = after.emails.map((one) => one.value[0] + (one.primary ? "*" : "")).join(" ");
  const names = Object.keys(after).filter((name) => name.toLowerCase() === "displayname").join(" ");
  return `active ${JSON.stringify(after.active)}, mails ${mails}, ${names || "no name"}`;
};
const libraries = {
  "scim-patch": (of, start, change) => scimPatch(start, [change]),
  scimmy: async (of, start, change) => {
    const Schema = of === "user" ? SCIMMY.Schemas.User : SCIMMY.Schemas.Group;
    const schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
    const record = new Schema(start, "out");
    return (await new SCIMMY.Messages.PatchOp({ schemas, Operations: [change] }).apply(record)) ?? record;
  },
};
const seen = {};
for (const [library, apply] of Object.entries(libraries)) {
  seen[library] = {};
  for (const [name, [of, change]] of Object.entries(changes)) {
    try {
      const start = copy(of === "user" ? user : group);
      seen[library][name] = told(of, copy(await apply(of, start, copy(change))));
    } catch {
      seen[library][name] = "refused";
    }
  }
}
console.log(JSON.stringify(seen));
NODE

"$folder/venv/bin/python" - <<'PYTHON'
import json
import pathlib
import subprocess
import sys

from pydantic import ValidationError
from scim2_models import Group, PatchOp, SCIMException, User

cases = json.loads(pathlib.Path("cases.json").read_text())


def told(of, after):
    if of == "group":
        return " ".join(one["value"] for one in after["members"])
    mails = " ".join(one["value"][0] + ("*" if one.get("primary") else "") for one in after["emails"])
    names = " ".join(name for name in after if name.lower() == "displayname")
    return f"active {json.dumps(after['active'])}, mails {mails}, {names or 'no name'}"


def applied(of, change):
    model = {"user": User, "group": Group}[of]
    record = model.model_validate(cases[of])
    message = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [change]}
    try:
        PatchOp[model].model_validate(message).patch(record)
    except (SCIMException, ValidationError):
        return "refused"
    return told(of, record.model_dump())


node = subprocess.run(["node", "apply.mjs"], check=True, capture_output=True, text=True, timeout=30)
seen = {
    "scim2-models": {name: applied(*change) for name, change in cases["changes"].items()},
    **json.loads(node.stdout),
}
expected = {
    "scim2-models": {
        "false as text": "active false, mails a* b, no name",
        "add to no address": "refused",
        "second primary": "active true, mails a b c*, no name",
        "address again": "active true, mails a* b, no name",
        "other case": "active true, mails a* b, displayName",
        "member again": "1 2",
        "remove by value": "refused",
    },
    "scim-patch": {
        "false as text": 'active "False", mails a* b, no name',
        "add to no address": "active true, mails a* b c, no name",
        "second primary": "active true, mails a* b c*, no name",
        "address again": "active true, mails a* b, no name",
        "other case": "active true, mails a* b, DisplayName",
        "member again": "1 2",
        "remove by value": "1",
    },
    "scimmy": {
        "false as text": "refused",
        "add to no address": "refused",
        "second primary": "active true, mails a* b c*, no name",
        "address again": "active true, mails a* b b, no name",
        "other case": "refused",
        "member again": "1 2 1",
        "remove by value": "1",
    },
}
print("scim2-models 0.12.3, scim-patch 0.8.3, scimmy 1.3.5; * = primary")
for name in cases["changes"]:
    for library, answers in seen.items():
        print(f"{name:18} {library:13} {answers[name]}; expected {expected[library][name]}")
sys.exit("the behaviour changed" if seen != expected else 0)
PYTHON
