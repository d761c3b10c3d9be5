"""The methods that Lightning and Keras call on a module, and what takes their place here."""

from __future__ import annotations

FOREIGN_DECLARATIONS: dict[str, str] = {
    "configure_callbacks": "Give handlers to fit.",
    "configure_gradient_clipping": "Give clip_norm or clip_value to fit.",
    "configure_lr_schedulers": "Did you mean configure_schedulers?",
    "lr_scheduler_step": "Return Schedule(scheduler, every=...) from configure_schedulers.",
    "optimizer_step": "Did you mean on_optimizer_step_started, or on_optimizer_step_completed?",
    "optimizer_zero_grad": "Gradients are cleared where a window of accumulate batches begins.",
    "predict_step": "Did you mean prediction_step?",
    "test_epoch_end": "Did you mean on_evaluation_epoch_completed?",
    "test_step": "Did you mean evaluation_step?",
    "test_step_end": "Did you mean on_evaluation_iteration_completed?",
    "training_epoch_end": "Did you mean on_epoch_completed?",
    "training_step_end": "Did you mean on_iteration_completed?",
    "validation_epoch_end": "Did you mean on_evaluation_epoch_completed?",
    "validation_step": "Did you mean evaluation_step?",
    "validation_step_end": "Did you mean on_evaluation_iteration_completed?",
}
