"""MusicXML, written by hand, with the notes written by hand that it stands for."""

import io
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from musicxml_documents import (
    CONTAINER,
    QUARTER,
    archive,
    backup,
    direction,
    document,
    dynamics,
    note,
    part_of,
    repeat,
    rest,
    unpitched,
)

from m2m.core.errors import M2MError
from m2m.core.score import Score, Track, parse_score, read_score
from m2m.core.score_limits import BeyondLimitError, Limits

pytest.importorskip("music21")
WHOLE = 4 * QUARTER  # a measure, two seconds at 120 quarters a minute


def heard(track: Track) -> list[tuple[float, float, int]]:
    return [(round(a, 3), round(b, 3), key) for a, b, key, _ in track.notes.tolist()]


def only(*measures: str, listed: str = "", attributes: str = "") -> Track:
    """The one track of a part."""
    (track,) = parse_score(document({"P1": measures}, listed, attributes)).tracks
    return track


def told(score: Score) -> dict[str, float]:
    return {omission.text: omission.second for omission in score.omissions}


def ending(number: int, content: str, *, back: bool) -> str:
    last = "stop" if back else "discontinue"
    closing = '<repeat direction="backward"/>' if back else ""
    return (
        f'<barline location="left"><ending number="{number}" type="start"/></barline>{content}'
        f'<barline location="right"><ending number="{number}" type="{last}"/>{closing}</barline>'
    )


@pytest.mark.parametrize(
    ("measures", "notes"),
    [
        pytest.param(
            [note("C") + note("F", alter=1) + rest() + note("B", 3, alter=-1)],
            [(0.0, 0.5, 60), (0.5, 1.0, 66), (1.5, 2.0, 58)],
            id="keys and rests",
        ),
        pytest.param(
            [note(length=WHOLE) + note("E", length=WHOLE, chord=True) + note("G", length=WHOLE, chord=True)],
            [(0.0, 2.0, 60), (0.0, 2.0, 64), (0.0, 2.0, 67)],
            id="chord",
        ),
        pytest.param(
            [note(length=4) + note("D", length=4) + note("E", length=4)],
            [(0.0, 0.167, 60), (0.167, 0.333, 62), (0.333, 0.5, 64)],
            id="triplet",
        ),
        pytest.param(
            [note(length=WHOLE, tie=["start"]), note(length=WHOLE, tie=["stop", "start"]), note(tie=["stop"]) + note()],
            [(0.0, 4.5, 60), (4.5, 5.0, 60)],
            id="ties",
        ),
        pytest.param(
            [
                note(length=WHOLE) + note("E", length=WHOLE, chord=True, tie=["start"]),
                note("E", length=WHOLE, tie=["stop"]) + note("A", length=WHOLE, chord=True),
            ],
            [(0.0, 2.0, 60), (0.0, 4.0, 64), (2.0, 4.0, 69)],
            id="one tied note of a chord",
        ),
        pytest.param(
            [note(length=WHOLE) + backup(WHOLE) + note("G", voice=2) + note("A", voice=2)],
            [(0.0, 2.0, 60), (0.0, 0.5, 67), (0.5, 1.0, 69)],
            id="two voices",
        ),
        pytest.param(  # the whole note holds what the other voice strikes again
            [note(length=WHOLE) + backup(WHOLE) + note(voice=2) + note("G", voice=2) + note(voice=2)],
            [(0.0, 1.0, 60), (0.5, 1.0, 67), (1.0, 2.0, 60)],
            id="voices in unison",
        ),
        pytest.param(
            [note("C", length=WHOLE) + repeat("backward")],
            [(0.0, 2.0, 60), (2.0, 4.0, 60)],
            id="repeat from the beginning",
        ),
        pytest.param(
            [note("C", length=WHOLE) + repeat("backward", 3), note("D", length=WHOLE)],
            [(0.0, 2.0, 60), (2.0, 4.0, 60), (4.0, 6.0, 60), (6.0, 8.0, 62)],
            id="three times",
        ),
        pytest.param(
            [
                note("C", length=WHOLE),
                repeat("forward") + note("D", length=WHOLE),
                ending(1, note("E", length=WHOLE), back=True),
                ending(2, note("F", length=WHOLE), back=False),
                note("G", length=WHOLE),
            ],
            [(2.0 * i, 2.0 * i + 2, key) for i, key in enumerate([60, 62, 64, 62, 65, 67])],
            id="voltas",
        ),
        pytest.param(
            [
                note("C", length=WHOLE) + direction("<words>Fine</words>", 'fine="yes"'),
                note("D", length=WHOLE) + direction("<words>D.C. al Fine</words>", 'dacapo="yes"'),
            ],
            [(0.0, 2.0, 60), (2.0, 4.0, 62), (4.0, 6.0, 60)],
            id="da capo al fine",
        ),
        pytest.param(
            [note() + note("D", grace=True) + note("E", grace=True) + note(length=WHOLE - QUARTER)],
            [(0.0, 0.5, 60), (0.375, 0.438, 62), (0.438, 0.5, 64), (0.5, 2.0, 60)],
            id="grace notes before their beat",
        ),
        pytest.param(
            [note("D", grace=True) + note(length=WHOLE)],
            [(0.0, 2.0, 60), (0.0, 0.062, 62)],
            id="grace note at the beginning",
        ),
        pytest.param(
            [note("E", length=WHOLE, cue=True) + note("G", length=WHOLE, cue=True, chord=True), note(length=WHOLE)],
            [(2.0, 4.0, 60)],
            id="cue notes are another part's",
        ),
        pytest.param(
            [
                direction('<octave-shift type="down" size="8"/>')
                + note("C", 6)
                + direction('<octave-shift type="stop" size="8"/>')
            ],
            [(0.0, 0.5, 84)],
            id="8va is written as it sounds",
        ),
        pytest.param(
            ["<harmony><root><root-step>C</root-step></root><kind>major</kind></harmony>" + note()],
            [(0.0, 0.5, 60)],
            id="chord symbol",
        ),
    ],
)
def test_notes_are_heard_as_they_are_written(measures: list[str], notes: list[tuple[float, float, int]]) -> None:
    assert sorted(heard(only(*measures))) == sorted(notes)


@pytest.mark.parametrize(
    ("name", "transpose", "key"),
    [
        ("Clarinet in Bb", "<diatonic>-1</diatonic><chromatic>-2</chromatic>", 58),
        ("Clarinet in Bb", "<chromatic>-2</chromatic>", 58),
        ("Contrabass", "<chromatic>0</chromatic><octave-change>-1</octave-change>", 48),
        ("Clarinet in Bb", "", 60),  # a score at concert pitch
    ],
)
def test_transposing_instruments_sound_at_their_pitch(name: str, transpose: str, key: int) -> None:
    told = f"<transpose>{transpose}</transpose>" if transpose else ""
    assert heard(only(note(), listed=part_of(name, 72), attributes=told)) == [(0.0, 0.5, key)]


def test_tempi_of_metronomes_and_of_sounds_in_any_part() -> None:
    metronome = "<metronome><beat-unit>half</beat-unit><per-minute>30</per-minute></metronome>"
    score = parse_score(
        document(
            {
                "P1": [direction(metronome) + note(length=WHOLE), note(length=WHOLE), note(length=WHOLE)],
                "P2": [
                    rest(WHOLE),
                    direction("<words>faster</words>", 'tempo="120"') + rest(WHOLE),
                    '<sound tempo="240"/>' + rest(WHOLE),
                ],
            }
        )
    )
    assert [(round(at, 6), round(bpm, 6)) for at, bpm in score.tempi] == [(0.0, 60.0), (4.0, 120.0), (6.0, 240.0)]
    assert heard(score.tracks[0]) == [(0.0, 4.0, 60), (4.0, 6.0, 60), (6.0, 7.0, 60)]
    assert score.meters == ((0.0, 4, 4),)


def test_dynamics_are_velocities() -> None:
    accent = note(notations="<articulations><accent/></articulations>")
    track = only(note() + dynamics("pp") + note() + dynamics("ff") + note() + note(attributes='dynamics="50"'), accent)
    assert track.notes["velocity"].tolist() == [80, 33, 112, 45, 127]  # 50 % of 90; 1.2 times ff is over 127


def test_a_repeat_goes_back_to_the_tempo_and_dynamics_of_its_beginning() -> None:
    first = '<sound tempo="60"/>' + dynamics("p") + note(length=WHOLE)
    last = dynamics("f") + note("E", length=WHOLE) + repeat("backward")
    measures = [first, repeat("forward") + note("D", length=WHOLE), last]
    faster = [rest(WHOLE), rest(WHOLE), '<sound tempo="120"/>' + rest(WHOLE) + repeat("backward")]
    faster[1] = repeat("forward") + faster[1]
    track = parse_score(document({"P1": measures, "P2": faster})).tracks[0]
    assert heard(track) == [(0.0, 4.0, 60), (4.0, 8.0, 62), (8.0, 10.0, 64), (10.0, 14.0, 62), (14.0, 16.0, 64)]
    assert track.notes["velocity"].tolist() == [49, 49, 96, 49, 96]


def test_a_piano_is_one_track_and_its_dynamics_are_of_both_hands() -> None:
    hands = (
        dynamics("pp", staff=1) + note(length=WHOLE, staff=1) + backup(WHOLE) + note("C", 3, WHOLE, staff=2, voice=5)
    )
    track = only(hands + repeat("backward"), listed=part_of("Piano"), attributes="<staves>2</staves>")
    assert sorted(heard(track)) == [(0.0, 2.0, 48), (0.0, 2.0, 60), (2.0, 4.0, 48), (2.0, 4.0, 60)]
    assert set(track.notes["velocity"].tolist()) == {33}


def test_a_part_of_two_staves_keeps_the_notes_that_name_none() -> None:
    assert heard(only(note(), attributes="<staves>2</staves>")) == [(0.0, 0.5, 60)]


def test_parts_of_one_program_keep_their_notes_and_names() -> None:
    data = document(
        {"P1": [note(length=WHOLE)], "P2": [note() + note() + note() + note()]},
        part_of("Größe ヴァイオリン", 41) + part_of("Violin 2", 41, 1, "P2"),
    )
    first, second = parse_score(data).tracks
    assert (first.name, first.program, second.name, second.program) == ("Größe ヴァイオリン", 40, "Violin 2", 40)
    assert heard(first) == [(0.0, 2.0, 60)]
    assert heard(second) == [(i / 2, i / 2 + 0.5, 60) for i in range(4)]


def test_twenty_parts_have_channels_without_the_drums() -> None:
    keys = [f"P{number}" for number in range(1, 21)]
    tracks = parse_score(document({key: [note()] for key in keys})).tracks
    assert len({(track.port, track.channel) for track in tracks}) == 20
    assert not any(track.is_drum or track.channel == 10 for track in tracks)


TWO = (
    '<score-part id="P1"><part-name>Winds</part-name><score-instrument id="F"><instrument-name>Flute</instrument-name>'
    '</score-instrument><score-instrument id="O"><instrument-name>Oboe</instrument-name></score-instrument>'
    '<midi-instrument id="F"><midi-channel>1</midi-channel><midi-program>74</midi-program></midi-instrument>'
    '<midi-instrument id="O"><midi-channel>2</midi-channel><midi-program>69</midi-program></midi-instrument></score-part>'
)


@pytest.mark.parametrize(
    "second",
    [
        note(length=WHOLE, instrument="O"),
        '<sound><midi-instrument id="F"><midi-program>69</midi-program></midi-instrument></sound>'
        + note(length=WHOLE, instrument="F"),
    ],
)
def test_a_part_changes_its_instrument_again_when_it_is_repeated(second: str) -> None:
    measures = [note(length=WHOLE, instrument="F"), second + repeat("backward")]
    flute, oboe = parse_score(document({"P1": measures}, TWO)).tracks
    assert (flute.program, oboe.program) == (73, 68)
    assert heard(oboe)[0] == (2.0, 4.0, 60)
    if "sound" not in second:
        assert heard(flute) == [(0.0, 2.0, 60), (4.0, 6.0, 60)]


DRUMS = (
    '<score-part id="P1"><part-name>Drums</part-name>'
    + "".join(
        f'<score-instrument id="{key}"><instrument-name>{key}</instrument-name></score-instrument>'
        for key in ("kick", "snare")
    )
    + "".join(
        f'<midi-instrument id="{key}"><midi-channel>10</midi-channel><midi-program>1</midi-program>'
        f"<midi-unpitched>{unpitched}</midi-unpitched></midi-instrument>"
        for key, unpitched in (("kick", 37), ("snare", 39))
    )
    + "</score-part>"
)


def test_drums_are_drums_with_their_keys() -> None:
    data = document({"P1": [unpitched("kick") + unpitched("snare")], "P2": [note()]}, DRUMS + part_of("V", 41, 2, "P2"))
    drums, violin = parse_score(data).tracks
    assert drums.is_drum
    assert heard(drums) == [(0.0, 0.5, 36), (0.5, 1.0, 38)]
    assert not violin.is_drum
    assert heard(violin) == [(0.0, 0.5, 60)]


@pytest.mark.parametrize(
    ("down", "change", "up"),
    [
        (direction('<pedal type="start"/>'), direction('<pedal type="change"/>'), direction('<pedal type="stop"/>')),
        (
            '<sound damper-pedal="yes"/>',
            '<sound damper-pedal="0"/><sound damper-pedal="100"/>',
            '<sound damper-pedal="no"/>',
        ),
    ],
)
def test_pedals_hold_until_they_are_lifted(down: str, change: str, up: str) -> None:
    first = note("C") + down + note("D") + note("E") + change + note("F")
    track = only(first, note("G") + up + note("A"))
    # the pedal that goes down with D does not hold C
    assert heard(track) == [
        *[(0.0, 0.5, 60), (0.5, 1.5, 62), (1.0, 1.5, 64)],
        *[(1.5, 2.5, 65), (2.0, 2.5, 67), (2.5, 3.0, 69)],
    ]


def test_what_is_not_played_is_told_with_its_second() -> None:
    score = parse_score(
        document(
            {
                "P1": [
                    note(notations="<ornaments><trill-mark/></ornaments>")
                    + note(notations="<articulations><staccato/></articulations>")
                    + note(notations="<fermata/>")
                    + direction('<wedge type="crescendo"/>')
                    + note(alter=0.5)
                    + direction('<wedge type="stop"/>')
                ]
            }
        )
    )
    assert told(score) == {
        "ornaments are left out: 1": 0.0,
        "staccato notes sound at full length: 1": 0.5,
        "fermatas are not held: 1": 1.0,
        "hairpins are left out: 1": 1.5,
        "microtones sound at the nearest key: 1": 1.5,
    }


def test_repeats_that_cannot_be_played_are_told() -> None:
    by_sound = document({"P1": [note() + '<sound dacapo="yes"/>']})
    uneven = document({"P1": [note() + repeat("backward")], "P2": [note("E")]})
    for data, word in ((by_sound, "da capo"), (uneven, "differ from part to part")):
        score = parse_score(data)
        assert any(word in text for text in told(score))
        assert heard(score.tracks[0]) == [(0.0, 0.5, 60)]


def test_every_form_of_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    data = document({"P1": [note()]})
    text = data.decode()
    doctype = '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" "partwise.dtd">'
    with_doctype = text.replace("<score-partwise", doctype + "<score-partwise", 1)
    forms = [
        data,
        b"\xef\xbb\xbf" + data,
        text.replace("UTF-8", "UTF-16").encode("utf-16"),
        with_doctype.encode(),
        archive(data),
        archive(data, "scores/größe.musicxml"),
    ]
    for number, form in enumerate(forms):
        path = tmp_path / f"{number}.mid"  # its name says nothing
        path.write_bytes(form)
        score = read_score(path)
        assert heard(score.tracks[0]) == [(0.0, 0.5, 60)]
        assert len(score.sha256) == 16


BOMB = '<!DOCTYPE score-partwise [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><score-partwise/>'


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (BOMB.encode(), "x is XML that declares entities of its own"),
        (BOMB.encode("utf-16"), "x is XML that declares entities of its own"),
        (b"<html></html>", "x is XML, but no MusicXML score: its root is <html>"),
        (b"<score-timewise/>", "x is a MusicXML score ordered by measures"),
        (b"<score-partwise/>", "x has no notes."),
        (b"<score-partwise><part", "x: it is a damaged MusicXML file: unclosed token"),
        (b"<a>" * 1000, "x is XML of more than 64 elements within each other"),
        (
            document({"P1": [note()]}).replace(b"<divisions>12", b"<divisions>x"),
            "x: it is a MusicXML file that music21 cannot read",
        ),
        (document({"P1": [note()] * 4001}), "x: it has a part of more than 4,000 measures"),
        (
            document({"P1": [note() + repeat("backward", 999_999)]}),
            "x: it has 1 notes, of which some are repeated 999,999 times",
        ),
        (
            document({"P1": [note()]}).replace(b"<beats>4", b"<beats>9999999"),
            "x: it is a damaged MusicXML file: its <beats> is 9999999",
        ),
        (document({"P1": ['<sound tempo="0.001"/>' + note()]}), "x: it has a tempo of 0.001 quarter notes a minute"),
    ],
)
def test_what_is_no_score_is_refused_in_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(M2MError) as refused:
        parse_score(data, "x")
    assert str(refused.value).startswith(sentence)


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    return made.getvalue()


def test_archives_that_hold_no_score_are_refused() -> None:
    container = CONTAINER.format("score.xml").encode()
    for data, words in (
        (zipped(word_xml=b"<w/>"), "is a ZIP archive, but no MusicXML"),
        (zipped(**{"META-INF__container_xml": container}), "its score 'score.xml' is not in it"),
        (zipped(**{"META-INF__container_xml": b"<container/>"}), "names no score"),
        (archive(document({"P1": [note()]}))[:200], "is a damaged .mxl file"),
        (archive(b"<score-partwise>" + b" " * 2_000_000, "score.xml"), "unpacks to more than 1,000,000 bytes"),
    ):
        with pytest.raises(M2MError, match=words):
            parse_score(data, limits=Limits(notes=1000))


def test_limits_hold() -> None:
    data = document({"P1": [note() * 4] * 10})
    with pytest.raises(BeyondLimitError, match="--limit notes=31"):
        parse_score(data, limits=Limits(notes=30))
    with pytest.raises(BeyondLimitError, match="--limit seconds="):
        parse_score(data, limits=Limits(seconds=5))
    with pytest.raises(BeyondLimitError, match="--limit notes="):  # repeats count
        parse_score(document({"P1": [note() * 4 + repeat("backward", 9)]}), limits=Limits(notes=30))


def test_without_music21_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "music21.exceptions21", None)
    with pytest.raises(M2MError, match=r"song.mxl is a MusicXML file, .* pip install 'm2m\[musicxml\]'"):
        parse_score(document({"P1": [note()]}), "song.mxl")


SEED = document(
    {
        "P1": [
            direction('<pedal type="start"/>') + note() + note("E", chord=True, tie=["start"]),
            note("G", grace=True) + note("E", tie=["stop"]) + repeat("backward"),
        ]
    },
    attributes="<transpose><chromatic>-2</chromatic></transpose>",
)


def outcome(data: bytes) -> Score | str:
    """The score, or the sentence that says why there is none. Anything else that is raised is a bug."""
    try:
        return parse_score(data, "x")
    except M2MError as error:
        return str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_files_are_read_or_refused_in_one_line(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from([SEED, archive(SEED)])))
    for _ in range(data.draw(st.integers(1, 4))):
        at, length = data.draw(st.integers(0, len(damaged) - 1)), data.draw(st.integers(0, 6))
        damaged[at : at + length] = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b"-1", b"0", b"9999999", b"</note>", b"<note>", b"NaN"]))
        )
    found = outcome(bytes(damaged))
    assert isinstance(found, Score) or (found.startswith("x") and "\n" not in found)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 48), st.integers(0, 35), st.booleans()), min_size=1, max_size=12))
def test_a_melody_of_any_lengths_is_heard_at_its_times(melody: list[tuple[int, int, bool]]) -> None:
    written, expected, at = "", [], 0
    for length, key, silent in melody:
        step, alter = ("C0", "C1", "D0", "D1", "E0", "F0", "F1", "G0", "G1", "A0", "A1", "B0")[key % 12]
        written += rest(length) if silent else note(step, 3 + key // 12, length, alter=int(alter))
        if not silent:
            expected.append((at / QUARTER / 2, (at + length) / QUARTER / 2, 48 + key))
        at += length
    if expected:
        notes = [tuple(row) for row in only(written).notes[["start", "end", "pitch"]].tolist()]
        assert notes == [pytest.approx(row, abs=1e-4) for row in expected]
