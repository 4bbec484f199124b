"""A rendering in the Python API: saved, and shown in a notebook."""

from __future__ import annotations

from pathlib import Path

from renderings import score_of


def test_the_python_api(tmp_path: Path) -> None:
    import m2m

    score_of((0, [60])).write(str(tmp_path / "a.mid"))
    rendering = m2m.render(tmp_path / "a.mid", timbre="vibraphone")
    assert repr(rendering) == "Rendering('a.mid', 2.4 s, film, griffin-lim)"
    assert "<audio controls src='data:audio/wav;base64,UklGR" in rendering._repr_html_()
    assert "&#x27;a.mid&#x27;, 2.4 s" in rendering._repr_html_()
    assert rendering.save(tmp_path / "a.flac").stat().st_size > 1000
    score = m2m.read_score(tmp_path / "a.mid")
    assert repr(score).startswith("Score('a.mid', 1 tracks, 1 notes")
    assert score._repr_html_().count("<rect") == 1
