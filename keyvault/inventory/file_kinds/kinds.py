"""What a kind of file is: its name in words, and what to do with it instead."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of text or file: `what` completes “This is …”; `then` says what gives a form we read.

    `command` stands in `then`, and is the same in every language. A kind that is read one day gets its
    reader where `key_files.read` asks for the kind.
    """

    code: str
    what: str
    then: str
    command: str = ""

    @property
    def name(self) -> str:
        """Return what it is, in the language of this moment."""
        return self.what

    @property
    def advice(self) -> str:
        """Return what to do instead, in the language of this moment."""
        return self.then.format(command=self.command)


OURS = (
    "Write the keys as a CSV with the header name,account,environment,application,secret, or as "
    "NAME=value lines."
)
COLUMNS = "Keep the rows that are API keys, and give its columns our names: name,secret,vendor_id,purpose."
LINES = "Give it as NAME=value lines: {command}"
DECRYPT = "Decrypt it first: {command}"
PAIR = "It holds a pair, id and secret: write a CSV with the header name,vendor_id,secret."
NO_KEY = "There is no API key in it."
KUBERNETES = "kubectl get secret NAME -o json"


def jq(pairs: str) -> str:
    """Return the command that prints what `pairs` gives, {key, value} each, as lines that we read."""
    return f"""jq -r '{pairs}|"\\(.key)=\\(.value|@json)"'"""
