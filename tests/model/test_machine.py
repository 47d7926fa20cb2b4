"""A state machine plays people, consumers, vendors and faults at random; the oracle judges."""

import contextlib
import datetime
import os
import secrets

from django.db.models import Q
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keyvault.core.errors import KeyServiceError
from keyvault.delivery import fetch
from keyvault.inventory import keys
from keyvault.models import ApiKey, KeyVersion, Role, VersionState
from rotation.consumers import registry
from rotation.engine import lifecycle, manual_keys, runner, scheduler
from rotation.models import (
    Acknowledgement,
    HumanTask,
    Outage,
    Reason,
    Rotation,
    RotationPolicy,
    Step,
    WaitingFor,
)
from rotation.scheduling import policies
from sandbox.vendor_client import VendorRefused
from tests import oracle
from tests.conftest import _forget_mark, _note_mark, _truncated
from tests.factories import grant, make_key, make_member, make_people, make_place, secret_of
from tests.rotation.driving import hurry
from tests.waiting import until

REFUSAL = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}
FAULTS = (
    ("create", {"kind": "execute_then_cut", "times": 1}),
    ("create", {"kind": "status", "status": 500, "body": "x", "times": 1}),
    ("create", {"kind": "status", "status": 429, "body": {"success": False}, "times": 2}),
    ("usage", {"kind": "status", "status": 503, "body": "busy", "times": 3}),
    ("usage", {"kind": "html", "times": 2}),
    ("usage", {"kind": "cut", "times": 1}),
    ("delete", {"kind": "execute_then_cut", "times": 1}),
    ("delete", {"kind": "status", "status": 500, "body": "x", "times": 2}),
    ("list", {"kind": "truncated", "times": 1}),
    ("get", {"kind": "status", "status": 404, "body": "<html>not found</html>", "times": 3}),
    ("delete", {"kind": "status", "status": 404, "body": "<html>not found</html>", "times": 1}),
    ("get", {"kind": "status", "status": 500, "body": "x", "times": 2}),
)
LIES = (
    {"last_use_shown": "null"},
    {"last_use_resolution": 86400},
    {"last_use_lag": 3600},
    {"last_use_behind": 3600},
    {"hides_labels": True},
)
HONEST = {
    "last_use_shown": "exact",
    "last_use_resolution": 0,
    "last_use_lag": 0,
    "last_use_behind": 0,
    "hides_labels": False,
}
which = st.integers(0, 2)


class Rotations(RuleBasedStateMachine):
    """Three keys (two automatic, one manual), three consumers, two workers that take turns."""

    vendor = None
    refusing = False

    @initialize()
    def begin(self):
        vendor = type(self).vendor
        vendor.clear_faults()
        self.place = make_place(vendor)
        self.place.api_account.settings = {
            "propagation_seconds": 1.0,
            "list_lag_seconds": 0.5,
            "steady_spacing_seconds": 0.05,
        }
        self.place.api_account.save()
        self.place.manual_account.settings = {
            "propagation_seconds": 1.0,
            "steady_spacing_seconds": 0.05,
        }
        self.place.manual_account.save()
        self.people = make_people(self.place)
        self.leaver = grant(
            make_member(f"leaver-{secrets.token_hex(3)}@example.com"),
            Role.OPERATOR,
            application=self.place.application,
        )
        self.keys = [
            make_key(vendor, self.place, self.people.owner, manual=place == 2, name=f"key-{place}")
            for place in range(3)
        ]
        # What a program that read its key once holds, by consumer and key: version and secret.
        self.held = {}
        self.dead_early = set()
        self.consumers = [
            registry.add_consumer(
                self.people.owner, f"web-{n}", self.place.application, self.place.environment
            )
            for n in range(3)
        ]

    def rotation(self, number):
        return Rotation.objects.filter(key=self.keys[number], finished_at=None).first()

    def quietly(self, act, *arguments, **options):
        """Do what may be refused in words; a refusal changes nothing, the invariants say so."""
        try:
            return act(*arguments, **options)
        except KeyServiceError:
            return None

    @rule(number=which, leak=st.booleans())
    def start(self, number, leak):
        reason = Reason.LEAK if leak else Reason.MANUAL
        self.quietly(lifecycle.start, self.people.operator, self.keys[number], reason)

    @rule(number=which)
    def start_and_leave(self, number):
        """A leaver's queued work does not go on in their name."""
        self.quietly(lifecycle.start, self.leaver, self.keys[number])
        self.leaver.is_active = False
        self.leaver.save()

    @rule(number=which, times=st.integers(1, 4))
    def work(self, number, times):
        rotation = self.rotation(number)
        for _ in range(times if rotation else 0):
            hurry(rotation)
            runner.advance(rotation.pk)

    @rule(number=which)
    def another_worker_after_a_lost_lease(self, number):
        """The first has died with its claim: the lease ends and the next one goes on."""
        from rotation.engine.lease import claim

        rotation = self.rotation(number)
        if rotation:
            hurry(rotation)
            claim(rotation.pk)
            Rotation.objects.filter(pk=rotation.pk).update(
                claimed_until=timezone.now() - datetime.timedelta(seconds=1)
            )

    @rule(number=which)
    def cancel(self, number):
        rotation = self.rotation(number)
        if rotation:
            self.quietly(lifecycle.cancel, self.people.operator, rotation)

    @rule(number=which)
    def retry(self, number):
        rotation = self.rotation(number)
        if rotation:
            self.quietly(lifecycle.retry, self.people.operator, rotation)

    @rule(number=which)
    def waive(self, number):
        rotation = self.rotation(number)
        if rotation:
            self.quietly(lifecycle.waive, self.people.operator, rotation, "nothing uses it now")

    @rule(who=which, number=which)
    def fetch_and_acknowledge(self, who, number):
        new = self.consumers[who]
        token, key = new.token.reveal(), self.keys[number]
        fetched = self.quietly(fetch.fetch, token, key.pk)
        if fetched and fetched.secret:
            self.held[who, number] = (fetched.version.pk, fetched.secret.reveal())
            assert type(self).vendor.use(fetched.secret.reveal()) != 401, "a dead key was given out"
            Acknowledgement.objects.update_or_create(
                consumer=new.consumer,
                key=key,
                defaults={"version": fetched.version, "at": timezone.now()},
            )

    @rule(who=which, number=which)
    def fetch_and_go_on(self, who, number):
        """A program reads its key once, and proves nothing."""
        key, token = self.keys[number], self.consumers[who].token.reveal()
        fetched = self.quietly(fetch.fetch, token, key.pk)
        if fetched and fetched.secret:
            self.held[who, number] = (fetched.version.pk, fetched.secret.reveal())

    @rule(who=which, number=which)
    def a_held_key_is_used(self, who, number):
        """B118, F2: what a holder uses, within whatever rhythm, is not ended before it moved."""
        version, secret = self.held.get((who, number), (None, None))
        if secret and type(self).vendor.use(secret) == 401:
            assert self.excused(version), f"version {version} was refused to its holder"

    def excused(self, version):
        """Return whether a person or the vendor ended it: not this service by itself."""
        row = KeyVersion.objects.get(pk=version)
        if version in self.dead_early or row.state == VersionState.DISCARDED:
            return True
        ended = Rotation.objects.filter(old_version=version)
        return ended.filter(Q(reason=Reason.LEAK) | Q(waived_at__isnull=False)).exists()

    @rule(lie=st.sampled_from(LIES))
    def vendor_lies(self, lie):
        """B116, B118, F13: last uses that are null, coarse, late or behind; lists without labels."""
        type(self).vendor.patch_account(self.place.vendor_api["id"], **lie)

    @rule(number=which)
    def the_old_key_dies_early(self, number):
        """B116: somebody deletes the old key in the dashboard while its holders still move."""
        rotation = self.rotation(number)
        if rotation and rotation.step == Step.VERIFY and rotation.verified_at and not self.refusing:
            self.dead_early.add(rotation.old_version_id)
            with contextlib.suppress(VendorRefused):
                type(self).vendor.delete_key_by_secret(secret_of(rotation.old_version))

    @rule(fault=st.sampled_from(FAULTS))
    def vendor_fails(self, fault):
        route, options = fault
        type(self).vendor.fault(route, **options)

    @rule(lag=st.sampled_from([0, 1]))
    def vendor_lags(self, lag):
        account = self.place.vendor_api["id"]
        type(self).vendor.patch_account(account, list_lag=lag / 2, start_delay=lag / 2)

    @rule()
    def vendor_recovers(self):
        type(self).vendor.clear_faults()

    @rule(number=which)
    def new_key_is_refused(self, number):
        rotation = self.rotation(number)
        if rotation and rotation.new_version and rotation.new_version.vendor_id:
            self.refusing = True
            type(self).vendor.fault(
                "usage",
                times=6,
                kind="status",
                status=401,
                body=REFUSAL,
                key_id=rotation.new_version.vendor_id,
            )

    @rule(number=which)
    def falls_due(self, number):
        wish = policies.Wish(30, timezone.now().time(), "UTC", 0, 1)
        policies.set_policy(self.people.owner, self.keys[number], wish)
        RotationPolicy.objects.update(next_run_at=timezone.now() - datetime.timedelta(hours=1))
        scheduler.start_due()

    @rule()
    def a_person_makes_a_standby(self):
        made = type(self).vendor.create_key(self.place.vendor_manual["id"])
        self.quietly(manual_keys.add_standby, self.people.operator, self.keys[2], made["key"])
        self.forget_if_unknown(made)

    @rule()
    def a_person_does_what_a_task_asks(self):
        task = HumanTask.objects.filter(closed_at=None, rotation__isnull=False).first()
        if task:
            self.do(task)

    def do(self, task):
        """Do as a person would: make and paste a key, delete one at the vendor, confirm."""
        vendor = type(self).vendor
        if task.kind == HumanTask.Kind.PASTE:
            made = vendor.create_key(self.place.vendor_manual["id"])
            self.quietly(manual_keys.paste_for, self.people.operator, task.rotation, made["key"])
            self.forget_if_unknown(made)
        elif task.kind == HumanTask.Kind.DELETE and task.version.destroyed_at is None:
            # It may be gone already, and its refusal not steady yet.
            with contextlib.suppress(VendorRefused):
                vendor.delete_key_by_secret(secret_of(task.version))
            self.quietly(lifecycle.ask_again, self.people.operator, task.rotation)
        elif task.kind == HumanTask.Kind.CONFIRM:
            self.quietly(lifecycle.waive, self.people.operator, task.rotation, "I looked at each")
        elif task.kind == HumanTask.Kind.LOOK:
            self.quietly(lifecycle.retry, self.people.operator, task.rotation)

    def forget_if_unknown(self, made):
        """A key that was made by hand and not taken is thrown away again by whoever made it."""
        from keyvault.core.hashing import fingerprint
        from keyvault.core.secret import Secret

        if not KeyVersion.objects.filter(fingerprint=fingerprint(Secret(made["key"]))).exists():
            type(self).vendor.delete_key(made["id"])

    @precondition(lambda self: hasattr(self, "keys"))
    @invariant()
    def consumers_have_a_key_that_works(self):
        # A key that the vendor was told to refuse for a while is the fault, not a loss.
        accepted = {
            k["id"]
            for k in type(self).vendor.keys(self.place.vendor_api["id"])
            if k["accepted_now"] or k["state"] == "active"
        }
        for key in ApiKey.objects.filter(account=self.place.api_account).select_related("current"):
            assert key.current.vendor_id in accepted, f"what consumers of {key} get is gone"

    @precondition(lambda self: hasattr(self, "keys"))
    @invariant()
    def old_keys_ended_in_order(self):
        oracle.assert_deleted_after_proof()

    def teardown(self):
        if hasattr(self, "keys"):
            self.settle()
        _note_mark()
        until(_truncated, what="the tables to be free")
        _forget_mark()

    def settle(self):
        """All faults end and people do their part: then everything ends well and is known."""
        vendor = type(self).vendor
        vendor.clear_faults()
        vendor.patch_account(self.place.vendor_api["id"], list_lag=0, start_delay=0, **HONEST)

        def ended():
            Outage.objects.update(next_try_at=timezone.now())
            for rotation in Rotation.objects.filter(finished_at=None):
                hurry(rotation)
                runner.advance(rotation.pk)
            for task in HumanTask.objects.filter(closed_at=None, rotation__finished_at=None):
                if task.rotation:
                    self.do(task)
            for rotation in Rotation.objects.filter(
                finished_at=None, step=Step.VERIFY, waiting_for=WaitingFor.ADOPTION
            ):
                self.quietly(lifecycle.waive, self.people.operator, rotation, "I looked at each")
            return not Rotation.objects.filter(finished_at=None).exists()

        until(ended, 40, "every rotation to end")
        from rotation.engine import cleanup

        cleanup.finish_destroying()
        oracle.assert_all_is_well(vendor, self.place)
        for key in self.keys:
            assert keys.get_key(self.people.owner, key.pk).current is not None


def test_whatever_happens_in_whatever_order_no_key_is_lost(stack, vendor, database):
    """I1 to I10 over random histories; MODEL_EXAMPLES says how many, the seed is printed on failure."""
    Rotations.vendor = vendor
    run_state_machine_as_test(
        Rotations,
        settings=settings(
            max_examples=int(os.environ.get("MODEL_EXAMPLES", "8")),
            stateful_step_count=14,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
        ),
    )
