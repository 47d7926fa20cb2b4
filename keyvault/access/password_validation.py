"""Refuse passwords that are long but easy to guess."""

from typing import Any

from django.core.exceptions import ValidationError

_LEAST = 3
# The estimate takes longer for longer texts, and says nothing new beyond this.
_MOST = 72


class GuessValidator:
    """Estimates with zxcvbn's lists of leaked passwords, names and patterns how soon it is guessed."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raise ValidationError for a password that a patient attacker would find."""
        # Its lists take 12 MB, which only a process that has a password to look at needs.
        from zxcvbn import zxcvbn

        known = [user.email, user.first_name] if user else []
        if zxcvbn(password[:_MOST], user_inputs=[word for word in known if word])["score"] < _LEAST:
            raise ValidationError(
                (
                    "This password is easy to guess: it is made of common words, leaked passwords "
                    "or repetitions. Take four or five words that have nothing to do with each "
                    "other."
                ),
                code="guessable",
            )

    def get_help_text(self) -> str:
        """Say what is asked for."""
        return "Take four or five words that have nothing to do with each other."
