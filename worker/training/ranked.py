"""How well the queries of a batch are ranked, all at once: torchmetrics goes query by query, for which a GPU waits."""

import torch
from torch import Tensor


def ranking_values(scores: Tensor, relevance: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Each metric [n] of the queries' scores and relevance [n, rows], and whether a query counts, 1 or 0, [n].

    MRR and MAP ask whether a row is relevant at all, NDCG how much (Järvelin & Kekäläinen 2002, the gain being the
    relevance itself). A query without a relevant row says nothing, a row of relevance -1 is none. Of rows with equal
    scores the least relevant counts as first: what a model can't tell apart earns it nothing.
    """
    is_row = relevance >= 0
    relevance = relevance.clamp_min(0)
    upwards, order = relevance.sort(dim=1, stable=True)
    by_score = scores.masked_fill(~is_row, -torch.inf).gather(1, order).argsort(dim=1, descending=True, stable=True)
    ranked = upwards.gather(1, by_score)
    places = torch.arange(1, ranked.shape[1] + 1, device=ranked.device)
    hits = ranked > 0
    precisions = hits.cumsum(1) / places
    gains, ideal = ranked / (places + 1).log2(), upwards.flip(1) / (places + 1).log2()
    counts = hits.any(1)
    values = {
        "mrr": (hits / places).amax(1),
        "map": (precisions * hits).sum(1) / hits.sum(1),
        "ndcg": gains.sum(1) / ideal.sum(1),
        "ndcg_10": gains[:, :10].sum(1) / ideal[:, :10].sum(1),
    }
    return {name: each.where(counts, 0.0) for name, each in values.items()}, counts.float()
