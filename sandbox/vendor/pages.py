"""The dashboard's pages as HTML. Every value that comes from outside goes through `escape`."""

from html import escape

from sandbox.vendor.state import Account, Key, now_text

STYLE = """
:root { color-scheme: light dark; --ink: #14171f; --soft: #5b6270; --line: #dfe3ea; --paper: #fff;
  --ground: #f5f6f9; --accent: #4f46e5; --bad: #b42318; --good: #067647; --tint: #ecfdf3; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceef3; --soft: #a2a9b8; --line: #2e3440;
  --paper: #171a21; --ground: #0f1116; --accent: #7c78f5; --bad: #f97066; --good: #47cd89;
  --tint: #12251b; } }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
header { display: flex; align-items: center; gap: 12px; padding: 12px 20px; background: var(--paper);
  border-bottom: 1px solid var(--line); }
header strong { margin-right: auto; }
main { max-width: 860px; margin: 28px auto; padding: 0 16px; }
main.narrow { max-width: 400px; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 0 0 8px; }
p { margin: 0 0 12px; } .soft { color: var(--soft); }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 18px;
  margin-top: 18px; }
label { display: block; font-weight: 600; margin-bottom: 4px; }
input { width: 100%; font: inherit; color: inherit; padding: 8px 10px; margin-bottom: 12px;
  border: 1px solid var(--line); border-radius: 6px; background: var(--ground); }
button { font: inherit; font-weight: 600; white-space: nowrap; padding: 8px 14px;
  border-radius: 6px; cursor: pointer; border: 1px solid var(--line);
  background: var(--paper); color: var(--ink); }
button.main { background: var(--accent); border-color: var(--accent); color: #fff; }
button.danger { color: var(--bad); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
#new-key { display: block; padding: 10px; border: 1px dashed var(--good); border-radius: 6px;
  user-select: all; }
.once { border-color: var(--good); background: var(--tint); }
[role=alert] { color: var(--bad); } [role=status] { color: var(--good); }
ul { list-style: none; margin: 0; padding: 0; }
li { display: flex; align-items: center; gap: 12px; padding: 12px 0; border-top: 1px solid var(--line); }
li:first-child { border-top: 0; } li > div { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.buttons { display: flex; gap: 8px; flex-wrap: wrap; }
"""


def sign_in(email: str = "", problem: str = "") -> str:
    """Return the page at `/`."""
    return _page(
        "Sign in",
        f"""<main class="narrow"><h1>Sign in</h1><p class="soft">Influtics sandbox</p>
<section>{_line("problem", "alert", problem)}
<form id="sign-in" method="post" action="/sign-in">
<label for="email">E-mail address</label>
<input id="email" name="email" type="email" autocomplete="username" required value="{escape(email)}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button class="main" id="sign-in-button">Sign in</button></form></section></main>""",
    )


def settings(account: Account, keys: list[Key], secret: str, notice: str, problem: str) -> str:
    """Return Settings → API; a new secret is shown this once."""
    rows = "".join(map(_row, reversed(keys)))
    listed = f'<ul id="keys">{rows}</ul>' if keys else '<p id="no-keys">There are no keys yet.</p>'
    return _page(
        "Settings: API",
        f"""{_bar(account)}<main><h1>API</h1>
<p class="soft">Settings → API. Keys are sent as <code>Authorization: Bearer …</code></p>
{_line("notice", "status", notice)}{_line("problem", "alert", problem)}{_once(secret)}
<section><h2>New key</h2><form id="generate" method="post" action="/settings/api/keys">
<label for="name">Name (optional)</label><input id="name" name="name" maxlength="100" autocomplete="off">
<button class="main" id="generate-key">Generate New API Key</button></form></section>
<section><h2>Your API keys</h2>{listed}</section></main>""",
    )


def confirm(key: Key) -> str:
    """Return the page that asks before a key is deleted."""
    return _page(
        "Delete API key",
        f"""<main class="narrow"><h1>Delete this API key?</h1><section>
<p><strong>{_name(key)}</strong> <code>{escape(key.masked)}</code></p>
<p>Programs that still use it will be refused. This cannot be undone.</p><div class="buttons">
<form method="post" action="/settings/api/keys/{escape(key.id)}/delete">
<button class="danger" id="confirm-delete">Delete key</button></form>
<form method="get" action="/settings/api"><button id="keep-key">Keep it</button></form>
</div></section></main>""",
    )


def not_found() -> str:
    """Return the page for what is not there."""
    return _page(
        "Not found",
        '<main class="narrow"><h1>Not found</h1><p>There is nothing here, or no longer.</p>'
        '<p><a href="/settings/api">Settings → API</a></p></main>',
    )


def _row(key: Key) -> str:
    used = f"last used {_moment(key.last_used_at)}" if key.last_used_at else "never used"
    expires = f", expires {_moment(key.expires_at)}" if key.expires_at else ""
    state = _state(key)
    key_id = escape(key.id)
    return f"""<li id="row-{key_id}"><div><strong>{_name(key)}</strong>{state}<br>
<code>{escape(key.masked)}</code><br>
<span class="soft">Made {_moment(key.created_at)}, {used}{expires}</span></div>
<form method="get" action="/settings/api/keys/{key_id}/delete">
<button class="danger" id="delete-{key_id}" aria-label="Delete {_name(key)}">Delete</button></form></li>"""


def _state(key: Key) -> str:
    if key.disabled_at is not None:
        return " (disabled)"
    return " (expired)" if key.expires_at is not None and key.expires_at <= now_text() else ""


def _once(secret: str) -> str:
    if not secret:
        return ""
    return f"""<section class="once"><h2>Your new API key</h2>
<p>Copy it now. It will not be shown again.</p><code id="new-key">{escape(secret)}</code></section>"""


def _line(element_id: str, role: str, text: str) -> str:
    return f'<p id="{element_id}" role="{role}">{escape(text)}</p>' if text else ""


def _bar(account: Account) -> str:
    return f"""<header><strong>Influtics sandbox</strong><span class="soft">{escape(account.name)}</span>
<form method="post" action="/sign-out"><button id="sign-out">Sign out</button></form></header>"""


def _name(key: Key) -> str:
    return escape(key.label or "Unnamed key")


def _moment(time: str) -> str:
    return escape(f"{time[:10]} {time[11:16]} UTC")


def _page(title: str, body: str) -> str:
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/style.css"></head><body>{body}</body></html>"""
