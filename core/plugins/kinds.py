"""The kinds of components, in one table: a new kind is an entry here, a contract and (if it has one) a suite.

What follows from the table: entry-point groups, the tables of plugins.toml, `--kind` and what `m2m plugins new` can write.
It imports nothing of m2m, since the command line reads it for `--help`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of component.

    contract: "module:Class" of the base class that components are made from.
    suite: "module:Class" of the tests in m2m.core.testing that hold a component to the contract; empty where there are none.
    example: examples/m2m-example has one of this kind, from which `m2m plugins new` writes an author's.
    """

    name: str
    contract: str
    suite: str = ""
    example: bool = False

    @property
    def plural(self) -> str:
        """The kind's table in a plugins.toml."""
        return f"{self.name}s"

    @property
    def group(self) -> str:
        """The kind's entry-point group."""
        return f"m2m.{self.plural}"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("encoder", "m2m.core.encoder:ScoreEncoder", "m2m.core.testing.encoder:EncoderConformance", example=True),
        Kind(
            "conditioner",
            "m2m.core.conditioner:TimbreConditioner",
            "m2m.core.testing.conditioner:ConditionerConformance",
            example=True,
        ),
        Kind("vocoder", "m2m.core.vocoder:Vocoder", "m2m.core.testing.vocoder:VocoderConformance", example=True),
        Kind(
            "transcriber",
            "m2m.core.transcriber:Transcriber",
            "m2m.core.testing.transcriber:TranscriberConformance",
            example=True,
        ),
    )
}
