"""What a run refuses in its first seconds: data that cannot be read, texts that do not fit, an unfit tokenizer.

Every stage says the same of its own input when its turn comes. Here it is said of all stages that are missing, by the
functions that they use, so that no reward model is trained before PPO or the check finds a prompt too long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from transformers import AutoConfig, PreTrainedTokenizerBase

from sandwiching.configs.schema import DataConfig, JudgementsTask, ModelConfig, ResourcesConfig, TaskConfig
from sandwiching.launch.nodes import Node
from sandwiching.oversight.expert_pairs import expert_pairs, fitting_pairs, held_out_rows
from sandwiching.oversight.items import checked_prompts
from sandwiching.oversight.overlap import refuse_overlap
from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.judgements import JudgementsFile
from sandwiching.tasks.records import Task
from sandwiching.tasks.registry import make_task
from sandwiching.training.batching import chosen
from sandwiching.training.demonstrations import demonstration_rows
from sandwiching.training.engines import require_vllm, vllm_python
from sandwiching.training.prompts import fitting_prompts
from sandwiching.training.reward_data import usable_judgements

T = TypeVar("T")


def refuse_bad_input(nodes: Sequence[Node], run_dir: Path, resources: ResourcesConfig) -> None:
    """Raise ValueError for input that one of these stages would refuse, before anything is loaded or written.

    Bad rows that data.skip_bad_rows leaves out go to rejected.jsonl in the run's folder.
    """
    if any(node.stage == "ppo" and node.blocks["ppo"].engine == "vllm" for node in nodes):
        require_vllm(vllm_python(resources.vllm.python))
    preflight = Preflight(run_dir / "rejected.jsonl")
    for node in nodes:
        preflight.check(node)


def base_tokenizer(model: ModelConfig) -> PreTrainedTokenizerBase:
    """The base model's. Raises ValueError when it will not do, or model.max_length exceeds the model's context."""
    folder = resolve(model.path, model.revision)
    context = getattr(AutoConfig.from_pretrained(folder), "max_position_embeddings", None)
    if context is not None and model.max_length > context:
        raise ValueError(
            f"model.max_length={model.max_length} is longer than the context of {model.path}, which has "
            f"max_position_embeddings={context}; set model.max_length={context}, or less"
        )
    return load_tokenizer(folder, model.pad_token)


class Preflight:
    """Looks at the input of stages. What they share is made and looked at once."""

    def __init__(self, rejected: Path) -> None:
        self.rejected = rejected
        self.known: dict[str, Any] = {}

    def once(self, function: Callable[..., T], *arguments: Any) -> T:
        """The function's value, computed for the first stage that has these arguments."""
        key = repr((function.__qualname__, arguments))
        if key not in self.known:
            self.known[key] = function(*arguments)
        return self.known[key]

    def check(self, node: Node) -> None:
        """Raise ValueError for input that the node's stage would refuse."""
        model, task, data = (node.blocks.get(name) for name in ("model", "task", "data"))
        if model is not None:
            self.once(base_tokenizer, model)
        if node.stage == "sft":
            self.once(self.demonstrations, model, task, data, node.blocks["sft"].max_demonstrations, _seed(node))
        elif node.stage in ("pairs", "ppo"):
            block = node.blocks[node.stage]
            limit = block.max_prompts if node.stage == "pairs" else None
            self.once(self.prompts, model, task, data, limit, block.sampling.max_new_tokens, _seed(node))
        elif node.stage == "reward_model":
            judged = node.parents["judgements"]
            self.once(self.judgements, model, judged.blocks["task"], data, judged.labels["tier"])
        elif node.stage == "check":
            self.once(self.held_out, model, task, data, node.blocks["check"], node.labels["seeds"][0])

    def task(self, task: TaskConfig, data: DataConfig, seed: int) -> Task:
        """The task; a file of judgements is read once, whatever the seed."""
        return self.once(make_task, task, data, 0 if isinstance(task, JudgementsTask) else seed, self.rejected)

    def demonstrations(
        self, model: ModelConfig, task: TaskConfig, data: DataConfig, limit: int | None, seed: int
    ) -> None:
        """What SFT learns from."""
        demonstrations = chosen(self.task(task, data, seed).demonstrations(), limit, seed)
        demonstration_rows(self.once(base_tokenizer, model), demonstrations, model, data.too_long)

    def prompts(
        self, model: ModelConfig, task: TaskConfig, data: DataConfig, limit: int | None, room: int, seed: int
    ) -> None:
        """Training prompts that responses are sampled to."""
        prompts = chosen(self.task(task, data, seed).prompts("train"), limit, seed)
        tokenizer = self.once(base_tokenizer, model)
        fitting_prompts(prompts, tokenizer, room=room, max_length=model.max_length, too_long=data.too_long)

    def judgements(self, model: ModelConfig, task: TaskConfig, data: DataConfig, tier: Any) -> None:
        """What reward models learn from, where it is known already: a file."""
        if isinstance(task, JudgementsTask):
            file = self.task(task, data, 0)
            assert isinstance(file, JudgementsFile)
            usable_judgements(file.training_judgements(tier), self.once(base_tokenizer, model), model, data.too_long)

    def held_out(self, model: ModelConfig, task: TaskConfig, data: DataConfig, check: Any, seed: int) -> None:
        """What the check asks about, none of which may be trained on."""
        tokenizer, source = self.once(base_tokenizer, model), self.task(task, data, seed)
        if isinstance(source, JudgementsFile):
            judged = held_out_rows(source, check)
            # Without experts the check has nothing to ask.
            if not any(row.judgement.tier == "expert" for row in judged):
                return
            fitting_pairs(expert_pairs(judged), tokenizer, model, data)
        else:
            checked_prompts(source, model, data, check, tokenizer)
        held_out = [*source.prompts("dev"), *source.prompts("final")]
        refuse_overlap(source.prompts("train"), held_out, check.overlap)


def _seed(node: Node) -> int:
    return node.labels["seed"]
