"""Any model as layers, from its input to its head: what fine-tuning counts in."""

from collections.abc import Sequence

from torch import nn

from worker.training.models.blocks import Blocks


def layers_of(model: nn.Module) -> list[list[nn.Parameter]]:
    """The model's weights layer by layer, each once: what precedes its stack of blocks, each block, and the head.

    The head is what follows the stack. A model without such a stack has its parts as layers, in their order.
    """
    blocks = _stack(model)
    place = {id(weight): index for index, block in enumerate(blocks) for weight in block.parameters()}
    layers: list[list[nn.Parameter]] = [[] for _ in range(len(blocks) + 2)]
    behind = False
    for weight in model.parameters():
        behind = behind or id(weight) in place
        layers[place.get(id(weight), len(blocks) if behind else -1) + 1].append(weight)
    return [weights for weights in layers if weights]


def _stack(model: nn.Module) -> Sequence[nn.Module]:
    """The core's blocks, or the largest list of blocks as other libraries keep them, or the model's parts."""
    for each in model.modules():
        if isinstance(each, Blocks) and len(each):
            return list(each)
    lists = [list(each) for each in model.modules() if isinstance(each, nn.ModuleList) and _holds_blocks(each)]
    if lists:
        return max(lists, key=lambda blocks: sum(weight.numel() for block in blocks for weight in block.parameters()))
    parts = [each for each in model.children() if any(True for _ in each.parameters())]
    return _stack(parts[0]) if len(parts) == 1 and list(parts[0].children()) else parts


def _holds_blocks(each: nn.ModuleList) -> bool:
    """Whether it is a stack: what lies side by side, as embeddings of columns do, has no layers of its own."""
    return len(each) > 0 and all(any(True for _ in block.children()) for block in each)
