"""The quality flags of a tile, listed once: the slide stages set them, the configuration and the ledger name them."""

from typing import Literal

Flag = Literal["pen", "fold", "blur"]
FLAGS: dict[Flag, str] = {
    "pen": "pen or surgical ink on the tile",
    "fold": "tissue that lies double",
    "blur": "out of focus",
}
