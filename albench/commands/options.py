"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NoProgressOption = Annotated[bool, typer.Option("--no-progress", help="Plain lines instead of a progress bar.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Where downloaded data sets lie; else $ALBENCH_DATA_DIR.")
]
