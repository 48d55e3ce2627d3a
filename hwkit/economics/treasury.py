"""A treasury rolled forward: what a miner's published holdings leave unexplained."""


def treasury(
    opening: float, *, mined: float = 0.0, bought: float = 0.0, sold: float = 0.0
) -> float:
    """Return what is held at a period's end, in BTC; coins that are lent or pledged are held.

    Less than what was reported: coins came that nobody told of, or one of the figures is wrong.
    """
    return opening + mined + bought - sold
