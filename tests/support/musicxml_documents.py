"""MusicXML scores for tests, written by hand in a few words."""

import io
import zipfile
from collections.abc import Mapping, Sequence

QUARTER = 12  # divisions
CONTAINER = '<container><rootfiles><rootfile full-path="{}"/></rootfiles></container>'


def note(
    step: str = "C",
    octave: int = 4,
    length: int | None = QUARTER,
    *,
    alter: float = 0,
    chord: bool = False,
    grace: bool = False,
    cue: bool = False,
    tie: Sequence[str] = (),
    voice: int = 1,
    staff: int = 0,
    instrument: str = "",
    notations: str = "",
    attributes: str = "",
) -> str:
    """A <note>; length: divisions; tie: of "start" and "stop"."""

    def element(tag: str, text: object, wanted: bool = True) -> str:
        return f"<{tag}>{text}</{tag}>" if wanted else ""

    pitch = element("step", step) + element("alter", alter, bool(alter)) + element("octave", octave)
    flags = "".join(f"<{flag}/>" for flag, there in (("grace", grace), ("cue", cue), ("chord", chord)) if there)
    ties = "".join(f'<tie type="{end}"/>' for end in tie)
    whose = f'<instrument id="{instrument}"/>' if instrument else ""
    return (
        f"<note {attributes}>{flags}{element('pitch', pitch)}{element('duration', length, not grace)}{ties}{whose}"
        f"{element('voice', voice)}{element('type', 'eighth', grace)}{element('staff', staff, bool(staff))}"
        f"{element('notations', notations, bool(notations))}</note>"
    )


def rest(length: int = QUARTER) -> str:
    return f"<note><rest/><duration>{length}</duration><voice>1</voice></note>"


def unpitched(instrument: str) -> str:
    where = "<display-step>C</display-step><display-octave>5</display-octave>"
    return (
        f'<note><unpitched>{where}</unpitched><duration>{QUARTER}</duration><instrument id="{instrument}"/>'
        "<voice>1</voice></note>"
    )


def backup(length: int) -> str:
    return f"<backup><duration>{length}</duration></backup>"


def direction(kind: str, sound: str = "", staff: int = 0) -> str:
    where = f"<staff>{staff}</staff>" if staff else ""
    return (
        f"<direction><direction-type>{kind}</direction-type>{where}{f'<sound {sound}/>' if sound else ''}</direction>"
    )


def dynamics(mark: str, staff: int = 0) -> str:
    return direction(f"<dynamics><{mark}/></dynamics>", staff=staff)


def repeat(way: str, times: int = 0) -> str:
    count = f' times="{times}"' if times else ""
    place = "left" if way == "forward" else "right"
    return f'<barline location="{place}"><repeat direction="{way}"{count}/></barline>'


def part_of(name: str, program: int = 1, channel: int = 1, key: str = "P1") -> str:
    """A <score-part> of one instrument; program and channel: from 1, as MusicXML counts."""
    return (
        f'<score-part id="{key}"><part-name>{name}</part-name><score-instrument id="{key}-I1">'
        f'<instrument-name>{name}</instrument-name></score-instrument><midi-instrument id="{key}-I1">'
        f"<midi-channel>{channel}</midi-channel><midi-program>{program}</midi-program></midi-instrument></score-part>"
    )


def document(parts: Mapping[str, Sequence[str]], listed: str = "", attributes: str = "") -> bytes:
    """A score of parts: each the contents of its measures, in 4/4 and C major. listed: their <score-part>s."""
    head = (
        f"<attributes><divisions>{QUARTER}</divisions><key><fifths>0</fifths></key>"
        f"<time><beats>4</beats><beat-type>4</beat-type></time>{attributes}</attributes>"
    )
    listed = listed or "".join(part_of(f"Part {key}", key=key) for key in parts)
    written = ""
    for key, measures in parts.items():
        inside = "".join(
            f'<measure number="{number}">{head if number == 1 else ""}{content}</measure>'
            for number, content in enumerate(measures, start=1)
        )
        written += f'<part id="{key}">{inside}</part>'
    text = f'<score-partwise version="4.0"><part-list>{listed}</part-list>{written}</score-partwise>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def archive(score: bytes, path: str = "score.xml", container: str = CONTAINER) -> bytes:
    """An .mxl file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("META-INF/container.xml", container.format(path))
        files.writestr(path, score)
    return made.getvalue()
