"""The layers of any model from its input to its head, for fine-tuning."""

from collections.abc import Sequence

from torch import nn

from worker.training.models.blocks import Blocks


def layers_of(model: nn.Module) -> list[list[nn.Parameter]]:
    """Return the model's weights by layer, each weight once: what precedes the stack of blocks, each block, the head.

    The head is everything after the stack. For a model without such a stack each child module with weights is a layer,
    in order.
    """
    blocks = _stack(model)
    block_of = {id(weight): index for index, block in enumerate(blocks) for weight in block.parameters()}
    layers: list[list[nn.Parameter]] = [[] for _ in range(len(blocks) + 2)]
    is_after_stack = False
    for weight in model.parameters():
        is_after_stack = is_after_stack or id(weight) in block_of
        layers[block_of.get(id(weight), len(blocks) if is_after_stack else -1) + 1].append(weight)
    return [weights for weights in layers if weights]


def _stack(model: nn.Module) -> Sequence[nn.Module]:
    """Return the core's blocks, or the largest list of blocks of another library, or else the model's children."""
    for module in model.modules():
        if isinstance(module, Blocks) and len(module):
            return list(module)
    lists = [list(each) for each in model.modules() if isinstance(each, nn.ModuleList) and _is_block_list(each)]
    if lists:
        return max(lists, key=lambda blocks: sum(weight.numel() for block in blocks for weight in block.parameters()))
    parts = [each for each in model.children() if any(True for _ in each.parameters())]
    return _stack(parts[0]) if len(parts) == 1 and list(parts[0].children()) else parts


def _is_block_list(modules: nn.ModuleList) -> bool:
    """Return whether the list is a stack of blocks: parallel parts, such as embeddings of columns, have no children."""
    return len(modules) > 0 and all(any(True for _ in block.children()) for block in modules)
