"""Ranking metrics for a batch of queries at once: torchmetrics loops over queries, which keeps a GPU waiting."""

import torch
from torch import Tensor


def ranking_values(scores: Tensor, relevance: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return MRR, MAP, NDCG and NDCG@10 of each query.

    MRR and MAP treat any relevance above 0 as relevant. NDCG uses the relevance itself as the gain (Järvelin &
    Kekäläinen 2002). A query without a relevant row is not counted. Among rows with equal scores the least relevant
    ranks first, so a model gains nothing from ties.

    Args:
        scores: the model's outputs, [n, rows].
        relevance: at least 0, [n, rows]; -1 where the query has no row.

    Returns:
        The values [n] by metric name (0 for a query that is not counted), and whether each query counts, 1.0 or 0.0,
        [n].
    """
    is_row = relevance >= 0
    relevance = relevance.clamp_min(0)
    ascending, order = relevance.sort(dim=1, stable=True)
    by_score = scores.masked_fill(~is_row, -torch.inf).gather(1, order).argsort(dim=1, descending=True, stable=True)
    ranked = ascending.gather(1, by_score)
    ranks = torch.arange(1, ranked.shape[1] + 1, device=ranked.device)
    hits = ranked > 0
    precisions = hits.cumsum(1) / ranks
    gains, ideal = ranked / (ranks + 1).log2(), ascending.flip(1) / (ranks + 1).log2()
    counts = hits.any(1)
    values = {
        "mrr": (hits / ranks).amax(1),
        "map": (precisions * hits).sum(1) / hits.sum(1),
        "ndcg": gains.sum(1) / ideal.sum(1),
        "ndcg_10": gains[:, :10].sum(1) / ideal[:, :10].sum(1),
    }
    return {name: each.where(counts, 0.0) for name, each in values.items()}, counts.float()
