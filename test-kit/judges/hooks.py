"""Hooks of Schemathesis. What it makes up for a command must not run; what only a deployment knows, it cannot make up."""

import schemathesis

FIRST = "exit 0\n"
COMMAND_CHARS = 65536
OF_THE_DEPLOYMENT = ("code_url", "code_checksum_sha256", "image")


@schemathesis.hook
def before_call(context, case, kwargs=None):
    valid = case.meta is not None and case.meta.generation.mode.is_positive
    if valid and isinstance(case.query, dict):
        # Any string is a cursor by its schema; only those that a list gave out are taken.
        case.query.pop("cursor", None)
    if not isinstance(case.body, dict):
        return
    if valid:
        for field in OF_THE_DEPLOYMENT:
            case.body.pop(field, None)
        # Required, but for images that bring a terminal of their own.
        case.body.setdefault("command", "true")
    for field in ("command", "install_cmd"):
        text = case.body.get(field)
        if isinstance(text, str) and 0 < len(text) <= COMMAND_CHARS:
            case.body[field] = (FIRST + text)[:COMMAND_CHARS]
