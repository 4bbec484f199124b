"""The bytes of a MusicXML file: recognised, taken out of their archive, found harmless.

A `.musicxml` file is a document whose root is `score-partwise`; an `.mxl` file is a ZIP archive with such a document in it. One
pass of expat, which keeps nothing, finds out how much there is before a tree is built of it. A document type with entities of
its own is refused: a few lines of these can stand for gigabytes. core/musicxml_events.py makes music of the tree.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element, ParseError, XMLParser
from xml.parsers import expat

from m2m.core.errors import M2MError
from m2m.core.score_limits import MUSICXML_BYTES_A_NOTE, Limits

DEPTH = 64  # elements in elements; a score has some ten
BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # of UTF-8 and UTF-16
CONTAINER = "META-INF/container.xml"  # says which file of an archive is the score
CONTAINER_BYTES = 100_000
MEASURES = 4000  # of a part: music21 takes time by their square
REPEATS = 4  # times so many notes and measures may come of repeats that are played out


def recognised(data: bytes) -> bool:
    """Whether bytes are a ZIP archive or XML, of whatever kind: no MIDI file begins like these."""
    return data[:4] == b"PK\x03\x04" or _begins_as_xml(data)


def _begins_as_xml(data: bytes) -> bool:
    return data[:200].replace(b"\0", b"").lstrip(b"".join(BOMS) + b" \t\r\n").startswith(b"<")


def read_tree(data: bytes, limits: Limits) -> Element:
    """The root of a score's tree. The messages of errors name no file.

    Raises M2MError for what is no MusicXML score, or more of it than `limits` allow.
    """
    if data[:4] == b"PK\x03\x04":
        data = _from_archive(data, MUSICXML_BYTES_A_NOTE * limits.notes)
    survey = _Survey(limits)
    survey.read(data)
    if survey.root == "score-timewise":
        raise M2MError("is a MusicXML score ordered by measures (score-timewise); export it as score-partwise.")
    if survey.root != "score-partwise":
        raise M2MError(f"is XML, but no MusicXML score: its root is <{survey.root[:40]}>.")
    survey.refuse_repeats()
    return _tree(data)


def _tree(data: bytes) -> Element:
    parser = XMLParser()  # noqa: S314 - the survey has refused what makes this unsafe
    try:
        parser.feed(data)
        root: Element = parser.close()
    except (ParseError, ValueError) as error:
        raise damaged(str(error)) from error
    return root


def _from_archive(data: bytes, most: int) -> bytes:
    """The score of an `.mxl` archive, of at most `most` bytes. Nothing is written, so that its paths cannot lead anywhere."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if CONTAINER not in names:
                raise M2MError(f"is a ZIP archive, but no MusicXML (.mxl): it has no {CONTAINER}.")
            container = _member(archive, CONTAINER, CONTAINER_BYTES)
            name = _rootfile(container)
            if name not in names:
                raise M2MError(f"is a damaged .mxl file: its score {name[:80]!r} is not in it; export it again.")
            return _member(archive, name, most)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError, RuntimeError) as error:
        raise M2MError(f"is a damaged .mxl file: {error or type(error).__name__}; export it again.") from error


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A file of an archive, unpacked only as far as it may go: what the archive says of its size may be a lie."""
    with archive.open(name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise M2MError(f"is an .mxl file whose {PurePosixPath(name).name[:80]} unpacks to more than {most:,} bytes.")
    return content


def _rootfile(container: bytes) -> str:
    """The path of the first root file that is MusicXML, which is what one without a media type is."""
    survey = _Survey(Limits())
    survey.read(container)
    for path, kind in survey.rootfiles:
        if path and kind in ("", "application/vnd.recordare.musicxml+xml", "application/vnd.recordare.musicxml"):
            return path
    raise M2MError(f"is a damaged .mxl file: its {CONTAINER} names no score; export it again.")


@dataclass
class _Survey:
    """What a document holds, counted while expat reads it."""

    limits: Limits
    root: str = ""
    notes: int = 0
    measures: int = 0  # of the part that is read
    longest: int = 0  # measures of the longest part
    times: int = 2  # at most, that something is repeated
    rootfiles: list[tuple[str, str]] = field(default_factory=list)
    depth: int = 0

    def read(self, data: bytes) -> None:
        """Raises M2MError for what is no XML, has entities of its own, is nested too deep or holds too many notes."""
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            parser.Parse(data, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise damaged(str(error)) from error

    def refuse_repeats(self) -> None:
        """Raise M2MError where repeats, played out, would make more of the notes than fits."""
        if self.times > 2 and self.notes * self.times > REPEATS * self.limits.notes:
            raise M2MError(
                f"it has {self.notes:,} notes, of which some are repeated {self.times:,} times; allow more with "
                f"--limit notes={math.ceil(self.notes * self.times / REPEATS)}, or write the repeats out."
            )
        if self.longest * self.times > REPEATS * MEASURES:
            raise M2MError(
                f"it has {self.longest:,} measures, of which some are repeated {self.times:,} times; split it."
            )

    def _doctype(self, name: str, system: str | None, public: str | None, has_internal_subset: int) -> None:
        if has_internal_subset:
            raise M2MError("is XML that declares entities of its own, which no score needs; export it again.")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.root = self.root or name
        self.depth += 1
        if self.depth > DEPTH:
            raise M2MError(f"is XML of more than {DEPTH} elements within each other, which no score has.")
        if name == "note":
            self.notes += 1
            self.limits.refuse("notes", self.notes, "notes or more")
        elif name == "part":
            self.measures = 0
        elif name == "measure":
            self.measures += 1
            self.longest = max(self.longest, self.measures)
            if self.measures > MEASURES:
                raise M2MError(f"it has a part of more than {MEASURES:,} measures; split it.")
        elif name == "repeat":
            times = attributes.get("times", "2")
            self.times = max(self.times, int(times[:9]) if re.fullmatch("[0-9]+", times) else 0)
        elif name == "rootfile":
            self.rootfiles.append((attributes.get("full-path", ""), attributes.get("media-type", "")))

    def _end(self, name: str) -> None:
        self.depth -= 1


def damaged(what: str) -> M2MError:
    """What is said of a file that breaks off or makes no sense."""
    return M2MError(f"it is a damaged MusicXML file: {what}; export it again from its editor.")
