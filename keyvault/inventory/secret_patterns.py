"""What secrets look like, whoever made them: well-known beginnings, and texts that are no words.

Pure, and sure in one direction only: what looks like a secret is kept out of names and away from other
vendors until a person says otherwise; what does not look like one may be one all the same.
"""

import re
from itertools import pairwise

# The beginnings that vendors publish for scanners, with what must follow so that no word matches.
_MAKERS = (
    ("Stripe", r"[spr]k_(?:live|test)_[A-Za-z0-9]{8,}|whsec_[A-Za-z0-9+/=]{16,}"),
    ("GitHub", r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}"),
    ("GitLab", r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|oas)-[\w.-]{16,}"),
    ("AWS", r"A(?:KIA|SIA|BIA|CCA|GPA|IDA|ROA|IPA|NPA|NVA)[A-Z0-9]{12,}"),
    ("Slack", r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{8,}|xapp-\d-[A-Za-z0-9-]{8,}"),
    ("Anthropic", r"sk-ant-[\w-]{8,}"),
    ("OpenRouter", r"sk-or-[\w-]{8,}"),
    ("OpenAI", r"sk-(?:proj|svcacct|admin|None)-[\w-]{8,}|sk-[A-Za-z0-9]{32,}"),
    ("Google", r"AIza[\w-]{20,}|ya29\.[\w-]{8,}|GOCSPX-[\w-]{8,}|1//0[\w-]{20,}"),
    ("npm", r"npm_[A-Za-z0-9]{20,}"),
    ("PyPI", r"pypi-[\w-]{16,}"),
    ("RubyGems", r"rubygems_[0-9a-f]{20,}"),
    ("Docker", r"dckr_(?:pat|oat)_[\w-]{8,}"),
    ("Vault", r"hv[sbr]\.[\w-]{16,}"),
    ("SendGrid", r"SG\.[\w-]{8,}\.[\w-]{8,}"),
    ("Mailgun", r"key-[0-9a-f]{32}"),
    ("Mailchimp", r"[0-9a-f]{32}-us\d{1,2}"),
    ("Brevo", r"xkeysib-[\w-]{16,}"),
    ("Resend", r"re_[A-Za-z0-9]{6,}_[A-Za-z0-9]{12,}"),
    ("Shopify", r"shp(?:at|ca|pa|ss|tka)_[0-9a-fA-F]{16,}"),
    ("Square", r"sq0[a-z]{3}-[\w-]{16,}|EAAA[\w-]{40,}"),
    ("Meta", r"EAA[A-Z][A-Za-z0-9]{40,}"),
    ("DigitalOcean", r"do[opr]_v1_[0-9a-f]{16,}"),
    ("Hugging Face", r"hf_[A-Za-z0-9]{20,}"),
    ("NVIDIA", r"nvapi-[\w-]{20,}"),
    ("Groq", r"gsk_[A-Za-z0-9]{20,}"),
    ("xAI", r"xai-[A-Za-z0-9]{20,}"),
    ("Perplexity", r"pplx-[A-Za-z0-9]{20,}"),
    ("Replicate", r"r8_[A-Za-z0-9]{20,}"),
    ("Linear", r"lin_(?:api|oauth)_[A-Za-z0-9]{16,}"),
    ("Notion", r"(?:ntn|secret)_[A-Za-z0-9]{32,}"),
    ("Figma", r"fig[dour]_[\w-]{16,}"),
    ("Postman", r"PMAK-[0-9a-f-]{16,}"),
    ("Databricks", r"dapi[0-9a-f]{32}"),
    ("New Relic", r"NR(?:AK|II|JS|SP|AL|IQ|RA)-[\w-]{16,}"),
    ("Grafana", r"gl(?:sa|c)_[\w+/=]{16,}"),
    ("Sentry", r"sntry[su]_[\w=+/-]{16,}"),
    ("Doppler", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.]{16,}"),
    ("Infisical", r"st\.[0-9a-f-]{20,}\.[0-9a-f]{16,}"),
    ("PostHog", r"ph[cxs]_[A-Za-z0-9]{20,}"),
    ("Supabase", r"sb(?:p|_secret|_publishable)_[\w-]{16,}"),
    ("Terraform Cloud", r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{16,}"),
    ("Atlassian", r"AT(?:ATT3|CTT3|BB|LASSIAN)[\w=-]{16,}"),
    ("HubSpot", r"pat-(?:na|eu|ap)\d-[0-9a-f-]{20,}"),
    ("Twilio", r"(?:SK|AC)[0-9a-f]{32}"),
    ("Contentful", r"CFPAT-[\w-]{16,}"),
    ("Alibaba Cloud", r"LTAI[A-Za-z0-9]{12,}"),
    ("Tencent Cloud", r"AKID[A-Za-z0-9]{13,}"),
    ("Fly.io", r"fo1_[\w-]{16,}|FlyV1 [\w-]{8,}"),
    ("PlanetScale", r"pscale_(?:tkn|oauth|pw)_[\w-]{16,}"),
    ("Render", r"rnd_[A-Za-z0-9]{16,}"),
    ("1Password", r"ops_eyJ[\w-]{16,}|A3-[A-Z0-9]{6}-(?:[A-Z0-9]{5,6}-){2,}[A-Z0-9]{5,6}"),
    ("age", r"AGE-SECRET-KEY-1[A-Z0-9]{16,}"),
    ("Bitwarden", r"0\.[0-9a-f-]{36}\.[A-Za-z0-9]{16,}:[\w+/=]{8,}"),
    ("Telegram", r"\d{8,10}:AA[\w-]{30,}"),
    ("Discord", r"[MNO][A-Za-z0-9]{23,}\.[\w-]{6}\.[\w-]{27,}"),
    ("Mapbox", r"[sp]k\.eyJ[\w-]{8,}"),
    ("LaunchDarkly", r"(?:sdk|api|mob)-[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"),
    ("Mollie", r"(?:live|test)_[A-Za-z0-9]{30,}"),
    ("Razorpay", r"rzp_(?:live|test)_[A-Za-z0-9]{10,}"),
    ("EasyPost", r"EZ[AT]K[A-Za-z0-9]{40,}"),
    ("Typeform", r"tfp_[\w-]{20,}"),
    ("PagerDuty", r"pdus\+[\w+-]{10,}"),
    ("Pulumi", r"pul-[0-9a-f]{40}"),
    ("Airtable", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{40,}"),
    ("Tailscale", r"tskey-[a-z]+-[\w-]{12,}"),
    ("Cloudinary", r"cloudinary://\S+"),
    ("this installation", r"kv[tc]_[\w-]{16,}"),
)
_MAKER = re.compile("|".join(f"(?P<m{at}>{shape})" for at, (_, shape) in enumerate(_MAKERS)))
_WITHIN = re.compile(rf"(?<![A-Za-z0-9])(?:{_MAKER.pattern})")
_WEB_TOKEN = re.compile(r"eyJ[\w-]{6,}\.(?:[\w-]+\.){0,3}[\w-]*")
_HEX = re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{32,}(?![0-9a-z])")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_PADDED = re.compile(r"[A-Za-z0-9+/_-]{14,}={1,2}")
_RUN = re.compile(r"[A-Za-z0-9]+")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
_WORD = re.compile(r"[A-Za-z]*[0-9]{0,8}")
_LONG, _SHORT = 20, 14


def maker(text: str) -> str:
    """Return whose secrets begin like `text`; an empty text where no vendor's do."""
    found = _MAKER.match(text)
    return _MAKERS[int(str(found.lastgroup)[1:])][0] if found else ""


def is_web_token(text: str) -> bool:
    """Return whether it has the form of a JWT, as signed-in sessions and clouds hand them out."""
    return _WEB_TOKEN.fullmatch(text) is not None and "." in text


def looks_secret(text: str) -> bool:
    """Return whether a word of a name looks like a secret: somebody's beginning, or no word at all."""
    return bool(_WITHIN.search(text)) or any(_odd(word) for word in text.split())


def is_words(text: str) -> bool:
    """Return whether it is made of words and numbers, as names are and secrets are not."""
    return all(_WORD.fullmatch(piece) for piece in _SEPARATORS.split(text))


def _odd(word: str) -> bool:
    if any(not run.isalpha() and not run.isdigit() for run in _HEX.findall(word)):
        return True
    if _UUID.search(word) or _PADDED.fullmatch(word) or _WEB_TOKEN.search(word):
        return True
    if len(word) >= _LONG and _mixed(word) and not is_words(word):
        return True
    return any(_jumbled(run) for run in _RUN.findall(word))


def _mixed(word: str) -> bool:
    return (
        any(sign.isupper() for sign in word)
        and any(sign.islower() for sign in word)
        and any(sign.isdigit() for sign in word)
    )


def _jumbled(run: str) -> bool:
    """Letters and digits take turns, as no word has them: shorter where both cases occur as well."""
    least = _SHORT if _mixed(run) else _LONG
    turns = sum(one.isdigit() != two.isdigit() for one, two in pairwise(run))
    return len(run) >= least and turns >= 4
