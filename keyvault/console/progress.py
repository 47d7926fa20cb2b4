"""The rotation track: four stations on a line, the old key's life above, the new key's below.

Only numbers are worked out here, in percent of the width; the templates draw them as SVG.
"""

from dataclasses import dataclass

from rotation.models import Rotation, Step

STATIONS = (
    (Step.GENERATE, "Generate", 12.5),
    (Step.UPDATE, "Update", 37.5),
    (Step.VERIFY, "Verify", 62.5),
    (Step.DELETE, "Delete", 87.5),
)
# A key that is retired has no new one to be made, handed out and moved to.
RETIRING = (
    (Step.GENERATE, "Tell", 12.5),
    (Step.VERIFY, "Unused?", 50.0),
    (Step.DELETE, "End", 87.5),
)
_PLACE = {step: x for step, _, x in STATIONS}
_UPDATE, _DELETE, _END = _PLACE[Step.UPDATE], _PLACE[Step.DELETE], 100.0


@dataclass(frozen=True)
class Station:
    """One station: `mark` is done, here, ahead or stopped."""

    name: str
    x: float
    mark: str


@dataclass(frozen=True)
class Piece:
    """A stretch of a key's life; `look` is serving (consumers get it), alive or ahead."""

    x1: float
    x2: float
    look: str

    @property
    def width(self) -> float:
        """Return its width in percent."""
        return self.x2 - self.x1


@dataclass(frozen=True)
class Track:
    """The whole drawing, and the same in words for those who do not see it."""

    stations: list[Station]
    old: list[Piece]
    new: list[Piece]
    new_from: float
    old_ends: float | None
    reached: float
    text: str


def track(rotation: Rotation) -> Track:
    """Return the drawing of a rotation as it stands now."""
    reached = _reached(rotation)
    done = rotation.step == Step.DONE
    return Track(
        stations=[
            Station(name, x, _mark(rotation, step, x)) for step, name, x in _stations(rotation)
        ],
        old=_pieces(_old(rotation, reached)),
        new=_pieces(_new(rotation, reached)),
        new_from=_PLACE[Step.GENERATE],
        old_ends=_DELETE if done and rotation.old_version_id else None,
        reached=reached,
        text=_text(rotation),
    )


def _stations(rotation: Rotation) -> tuple[tuple[Step, str, float], ...]:
    return RETIRING if rotation.retires else STATIONS


def _reached(rotation: Rotation) -> float:
    """Return how far it came: an end that is no success stays where the work stopped."""
    if rotation.step == Step.DONE:
        return _END
    place = {step: x for step, _, x in _stations(rotation)}
    if rotation.step in place:
        return place[Step(rotation.step)]
    return place[Step.VERIFY if rotation.published_at else Step.GENERATE]


def _mark(rotation: Rotation, step: Step, x: float) -> str:
    reached = _reached(rotation)
    if x < reached or rotation.step == Step.DONE:
        return "done"
    if x > reached:
        return "ahead"
    return "here" if rotation.step == step else "stopped"


def _old(rotation: Rotation, reached: float) -> list[Piece]:
    if rotation.old_version_id is None:
        return []
    if _went_back(rotation):
        return [Piece(0, _END, "serving")]
    if rotation.retires:
        ends = min(reached, _DELETE)
        return [Piece(0, ends, "serving"), Piece(ends, _DELETE, "ahead")]
    switched = _UPDATE if rotation.published_at else reached
    return [
        Piece(0, switched, "serving"),
        Piece(switched, min(reached, _DELETE), "alive"),
        Piece(max(reached, switched), _DELETE, "ahead"),
    ]


def _new(rotation: Rotation, reached: float) -> list[Piece]:
    begins = _PLACE[Step.GENERATE]
    if rotation.retires:
        return []
    if _went_back(rotation):
        return [Piece(begins, reached, "alive")] if rotation.new_version_id else []
    switched = _UPDATE if rotation.published_at else reached
    return [
        Piece(begins, switched, "alive"),
        Piece(switched, reached, "serving" if rotation.published_at else "alive"),
        Piece(reached, _END, "ahead"),
    ]


def _went_back(rotation: Rotation) -> bool:
    return rotation.step in (Step.ROLL_BACK, Step.FAILED, Step.CANCELLED)


def _pieces(pieces: list[Piece]) -> list[Piece]:
    return [piece for piece in pieces if piece.width > 0]


def _text(rotation: Rotation) -> str:
    if rotation.retires:
        return _text_of_retiring(rotation)
    old = f"version {rotation.old_version.number}" if rotation.old_version else "no old key"
    new = f"version {rotation.new_version.number}" if rotation.new_version else "the new key"
    where = {
        Step.GENERATE: f"{old} serves; {new} is being made",
        Step.UPDATE: f"{old} serves; {new} is being handed out",
        Step.VERIFY: f"{new} serves; {old} {'is gone already' if rotation.old_gone_at else 'still works'}",
        Step.DELETE: f"{new} serves; {old} is being deleted",
        Step.ROLL_BACK: f"going back: {old} serves; {new} is being removed",
        Step.DONE: f"{new} serves; {old} is deleted and refused",
        Step.FAILED: f"failed: {old} serves on; {new} was withdrawn",
        Step.CANCELLED: f"cancelled: {old} serves on",
    }[Step(rotation.step)]
    return f"Step {rotation.get_step_display().lower()}. {where[0].upper()}{where[1:]}."


def _text_of_retiring(rotation: Rotation) -> str:
    key = f"version {rotation.old_version.number}" if rotation.old_version else "the key"
    text = {
        Step.GENERATE: "its consumers are told that it is to go",
        Step.VERIFY: f"{key} is given out until nothing needs it",
        Step.DELETE: f"{key} is being ended",
        Step.ROLL_BACK: f"cancelled: {key} is given out as before",
        Step.DONE: f"{key} is ended and refused",
        Step.FAILED: f"failed: {key} is given out as before",
        Step.CANCELLED: f"cancelled: {key} is given out as before",
    }.get(Step(rotation.step), f"{key} is given out")
    text = f"{text[0].upper()}{text[1:]}."
    return f"Being retired. {text}" if rotation.is_open else text
