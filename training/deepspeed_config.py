"""The DeepSpeed configuration of every engine here: TRL's trainers and the PPO learner."""

from __future__ import annotations

from typing import Any


def deepspeed_config(
    *,
    zero_stage: int,
    precision: str,
    micro_batch: int,
    accumulation: int,
    max_grad_norm: float,
    offload: bool = False,
    persistence_threshold: int | None = None,
) -> dict[str, Any]:
    """DeepSpeed's config dict.

    precision: fp32, or bf16 (bf16 working copies, fp32 master weights). persistence_threshold: parameters smaller than
    this stay whole under ZeRO-3; None keeps DeepSpeed's default, tests set 0 (tiny models hide ZeRO-3 bugs otherwise).
    """
    zero: dict[str, Any] = {"stage": zero_stage}
    if zero_stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
        if persistence_threshold is not None:
            zero["stage3_param_persistence_threshold"] = persistence_threshold
    # Gradients in an fp32 buffer that stays, filled during backward: exact sums over micro-batches, and no copies of
    # all gradients at each step. DeepSpeed has it for this case only.
    fp32_gradients = precision == "bf16" and zero_stage == 1 and not offload
    if offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": max_grad_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": precision == "bf16", "immediate_grad_update": fp32_gradients},
        "data_types": {"grad_accum_dtype": "fp32" if fp32_gradients else None},
        "steps_per_print": 10**9,
    }
