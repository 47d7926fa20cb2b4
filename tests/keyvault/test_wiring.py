"""What the inventory asks of the rotation app is connected when both are there."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from keyvault import hooks
from keyvault.checks import check_hooks
from keyvault.hooks import Hook


def test_every_hook_is_connected_and_the_check_says_so():
    assert all(hook.connected for hook in hooks.HOOKS)
    assert check_hooks() == []


def test_a_hook_that_nobody_connected_is_named():
    lonely: Hook[[], str] = Hook("lonely")
    with pytest.raises(ImproperlyConfigured, match="lonely"):
        lonely()
    lonely.connect(lambda: "answered")
    assert lonely() == "answered"
