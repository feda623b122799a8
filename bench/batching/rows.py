"""What the batch bench finds: one figure a row, and whether it is what is wanted."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure. `wanted` says whether it is what is wanted; None where nothing is."""

    measure: str
    value: float
    unit: str
    wanted: bool | None = None


def tell(rows: list[Row]) -> None:
    words = {None: "", True: "met", False: "MISSED"}
    for row in rows:
        print(f"{row.measure:<46}{row.value:>12.4g} {row.unit:<10} {words[row.wanted]}", flush=True)


def keep(rows: list[Row], file: Path) -> None:
    file.write_text(json.dumps([asdict(row) for row in rows], indent=1))
