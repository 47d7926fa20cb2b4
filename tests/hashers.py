"""A password hasher that is quick enough for thousands of tests; what it makes, the real one reads."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class QuickHasher(PBKDF2PasswordHasher):
    """PBKDF2 with a thousandth of the work; the number of rounds stands in each digest."""

    iterations = 1000
