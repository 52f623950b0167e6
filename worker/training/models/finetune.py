"""Registry of fine-tuning methods: factories from a model and settings to its trainable weights, some of them new."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from torch import nn

from worker.training.errors import ConfigError
from worker.training.models.hugging_face import TransformersAdapter, longest_text
from worker.training.models.layers import layers_of
from worker.training.models.trainable import ParamGroup, TrainableModel
from worker.training.optional_deps import library
from worker.training.parameters import Setting
from worker.training.registry import Registry

FINETUNING: Registry[TrainableModel] = Registry("finetune")

Head: TypeAlias = Annotated[bool, Setting("what follows the last block learns too, as a new head has to")]
NumVectors: TypeAlias = Annotated[int, Setting("number of vectors that are learnt", low=1)]


@FINETUNING.add
def full(
    model: nn.Module,
    *,
    frozen: Annotated[int, Setting("layers that stay as they are, counted from the input", low=0)] = 0,
    layer_decay: Annotated[
        float,
        Setting("what each layer's learning rate is of that of the layer above", low=0.0, high=1.0, exclusive_low=True),
    ] = 1.0,
    unfreeze_by: Annotated[
        float,
        Setting(
            "fraction of the training by which all layers learn: the head at once, the others top down",
            low=0.0,
            high=0.9,
        ),
    ] = 0.0,
) -> TrainableModel:
    """Train all layers or the upper ones; lower layers may learn more slowly and start later (Howard & Ruder 2018)."""
    layers = layers_of(model)
    if frozen >= len(layers):
        raise ConfigError("finetune.frozen", f"the model has {len(layers)} layers; freeze {len(layers) - 1} at most")
    below_head = len(layers) - frozen - 1
    return TrainableModel(
        model,
        [
            ParamGroup(weights, layer_decay**depth, unfreeze_by * depth / max(1, below_head))
            for depth, weights in zip(range(below_head, -1, -1), layers[frozen:], strict=True)
        ],
    )


@FINETUNING.add
def head(model: nn.Module) -> TrainableModel:
    """Train only the head, everything after the last block, on frozen features (linear probe)."""
    return TrainableModel(model, [ParamGroup(layers_of(model)[-1])])


@FINETUNING.add
def lora(
    model: nn.Module,
    *,
    rank: Annotated[int, Setting("rank of what is added to each matrix", low=1)] = 8,
    alpha: Annotated[float, Setting("what is added is scaled by alpha / rank", low=0.0, exclusive_low=True)] = 16.0,
    dropout: Annotated[float, Setting("share of its inputs left out in training", low=0.0, high=0.99)] = 0.0,
    targets: Annotated[
        Sequence[str] | None, Setting("names of layers, or ends of them; null: all linear ones below the head")
    ] = None,
    head: Head = True,
) -> TrainableModel:
    """LoRA: freeze the weight matrices and train low-rank updates that are added to them (Hu et al. 2022)."""
    peft = library("peft", "finetune.name")
    top = layers_of(model)[-1]
    linear = _linear_layers(model, top)
    if targets is None and not linear:
        raise ConfigError("finetune.name", "the model has no linear layer below its head; use full")
    settings = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(linear if targets is None else targets),
        fan_in_fan_out=any(not isinstance(layer, nn.Linear) for layer in linear.values()),
    )
    try:
        peft.inject_adapter_in_model(settings, model)
    except ValueError as error:
        raise ConfigError("finetune.targets", str(error)) from error
    lora_weights = [weight for weight in model.parameters() if weight.requires_grad]
    return TrainableModel(model, [ParamGroup([*lora_weights, *(top if head else [])])])


@FINETUNING.add
def prefix(model: nn.Module, *, vectors: NumVectors = 16) -> TrainableModel:
    """Prefix tuning: train keys and values that precede the text in every layer, and the head (Li & Liang 2021)."""
    return _with_prompt("PrefixTuningConfig", model, vectors)


@FINETUNING.add
def prompt(model: nn.Module, *, vectors: NumVectors = 16) -> TrainableModel:
    """Prompt tuning: train token embeddings that precede the text, and the head (Lester et al. 2021)."""
    return _with_prompt("PromptTuningConfig", model, vectors)


def _with_prompt(kind: str, model: nn.Module, vectors: int) -> TrainableModel:
    peft = library("peft", "finetune.name")
    if not isinstance(model, TransformersAdapter):
        raise ConfigError(
            "finetune.name", "prefix and prompt tuning need the model transformers; use lora, head or full"
        )
    if model.length + vectors > (longest := longest_text(model.network.config)):
        raise ConfigError(
            "finetune.vectors",
            f"{vectors} vectors and {model.length} tokens exceed the model's limit of {longest} tokens; use fewer",
        )
    task = "CAUSAL_LM" if model.every_token else "SEQ_CLS"
    model.network = peft.get_peft_model(model.network, getattr(peft, kind)(task_type=task, num_virtual_tokens=vectors))
    return TrainableModel(model, [ParamGroup([weight for weight in model.parameters() if weight.requires_grad])])


def _linear_layers(model: nn.Module, head: Sequence[nn.Parameter]) -> dict[str, nn.Module]:
    """Return the linear layers below the head by name, including GPT-2's, which transformers writes as Conv1D."""
    excluded = {id(weight) for weight in head}
    # A language model's last layer may share its weights with the token embedding.
    excluded |= {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Embedding)}
    return {
        name: layer
        for name, layer in model.named_modules()
        if (isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D") and id(layer.weight) not in excluded
    }
