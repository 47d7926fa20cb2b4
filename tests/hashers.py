"""A password hasher that is quick enough for thousands of tests; what it makes, the real one reads."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class QuickHasher(PBKDF2PasswordHasher):
    """PBKDF2 with a thousandth of the work; the number of rounds stands in each digest."""

    iterations = 1000


class CountingHasher(QuickHasher):
    """Counts the rounds that it went through, which is what a sign-in's time is made of."""

    rounds = 0

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Hash, and count."""
        CountingHasher.rounds += iterations or self.iterations
        return super().encode(password, salt, iterations)
