"""The arguments of Lightning's Trainer, Hugging Face's TrainingArguments and Keras' fit, and what takes their place here."""

from __future__ import annotations

_EPOCHS = "Use max_epochs."
_ITERS = "Use max_iters, which counts batches."
_ACCUMULATE = "Use accumulate."
_CLIP = "Use clip_norm, or clip_value for each entry of a gradient."
_VALIDATE = "Use validate_every: epochs, or an event such as Events.ITERATION_COMPLETED(every=500)."
_SAVE = "Use save_every: epochs, or an event such as Events.ITERATION_COMPLETED(every=500)."
_DEVICES = "Each process uses one device: torchrun --nproc-per-node 4 train.py trains on four, accelerator='cuda:1' picks one."
_LOADER = "It belongs to the DataLoader, which fit takes as train_data and val_data."
_OPTIMIZER = "It belongs to the optimizer, which configure_optimizers returns."
_SCHEDULER = "It belongs to the schedulers, which configure_schedulers returns."
_WARMUP = "Return warmup_schedule(optimizers['main'], total_steps, warmup=...) from configure_schedulers."
_METRICS = "It belongs to the module: configure_metrics returns metrics by name."
_HANDLERS = "Use handlers: objects with on_<event> methods."
_LOGGER = "Use loggers, such as loggers=[TensorBoardLogger()]; with run_dir metrics.jsonl is written in any case."
_RUN_DIR = "Use run_dir, the folder of the run."
_RESUME = "Use run_dir: fit goes on with the run there; or resume, the path of a run or a checkpoint to start from."
_PRECISION = "Use precision: 'fp32', 'bf16' or 'fp16'."
_TRAIN_DATA = "Use train_data, the first argument."
_VAL_DATA = "Use val_data, the second argument."
_MONITOR = "Use monitor, such as 'val/loss', with mode."
_DATA_OF_CALL = "Use data, the first argument."
_LIMIT = "Use limit_batches, a whole number of batches."

FOREIGN_SETTINGS: dict[str, str] = {
    # Lightning
    "accumulate_grad_batches": _ACCUMULATE,
    "auto_lr_find": "Call find_lr(model, train_data) before fit; it suggests a rate for configure_optimizers.",
    "auto_select_gpus": _DEVICES,
    "benchmark": "Set torch.backends.cudnn.benchmark before fit.",
    "callbacks": _HANDLERS,
    "check_val_every_n_epoch": "Use validate_every, in epochs.",
    "checkpoint_callback": "With run_dir checkpoints are written; save_every, keep and monitor say when and which.",
    "ckpt_path": _RESUME,
    "datamodule": "Give the loaders themselves: fit(train_data, val_data).",
    "default_root_dir": _RUN_DIR,
    "detect_anomaly": "Use debug=True.",
    "devices": _DEVICES,
    "enable_checkpointing": "Use run_dir: with it checkpoints are written, without it none.",
    "enable_model_summary": "dry_run=True prints a summary.",
    "enable_progress_bar": "Use progress.",
    "fast_dev_run": "Use dry_run=True.",
    "gpus": _DEVICES,
    "gradient_clip_algorithm": _CLIP,
    "gradient_clip_val": _CLIP,
    "inference_mode": "Evaluation and prediction compute no gradients in any case.",
    "limit_predict_batches": "It belongs to predict: limit_batches.",
    "limit_test_batches": "It belongs to evaluate: limit_batches.",
    "log_every_n_steps": "Use log_every.",
    "logger": _LOGGER,
    "max_steps": _ITERS,
    "max_time": "Use max_time_s, in seconds.",
    "min_epochs": "A handler that stops a run early decides this itself.",
    "min_steps": "A handler that stops a run early decides this itself.",
    "model": "fit is a method of the model: model.fit(train_data, val_data).",
    "num_nodes": _DEVICES,
    "num_processes": _DEVICES,
    "num_sanity_val_steps": "Use dry_run=True, which takes one batch of everything.",
    "overfit_batches": "Use limit_train_batches.",
    "plugins": "Use accelerator, which also takes a Backend.",
    "profiler": "Call fit inside torch.profiler.profile().",
    "reload_dataloaders_every_n_epochs": "Give train_data as a function that makes the batches; it is called for each epoch.",
    "replace_sampler_ddp": "Use data_order='loader' to leave the loader as it is.",
    "resume_from_checkpoint": _RESUME,
    "tpu_cores": "Use accelerator='tpu'.",
    "track_grad_norm": "Use handlers=[Norms()].",
    "train_dataloader": _TRAIN_DATA,
    "train_dataloaders": _TRAIN_DATA,
    "use_distributed_sampler": "Use data_order='loader' to leave the loader as it is.",
    "val_check_interval": _VALIDATE,
    "val_dataloader": _VAL_DATA,
    "val_dataloaders": _VAL_DATA,
    "weights_save_path": _RUN_DIR,
    # Hugging Face
    "auto_find_batch_size": _LOADER,
    "bf16": "Use precision='bf16'.",
    "compute_metrics": _METRICS,
    "data_collator": "It belongs to the DataLoader: collate_fn.",
    "data_seed": "Use seed.",
    "dataloader_drop_last": _LOADER,
    "dataloader_num_workers": _LOADER,
    "disable_tqdm": "Use progress=False.",
    "eval_dataset": _VAL_DATA,
    "eval_steps": _VALIDATE,
    "eval_strategy": _VALIDATE,
    "evaluation_strategy": _VALIDATE,
    "fp16": "Use precision='fp16', or accelerator='amp'.",
    "full_determinism": "Use deterministic=True with seed.",
    "gradient_accumulation_steps": _ACCUMULATE,
    "load_best_model_at_end": "Call load_weights with the run_dir after fit: it takes the best checkpoint.",
    "logging_dir": _RUN_DIR,
    "logging_steps": "Use log_every.",
    "lr_scheduler_type": _SCHEDULER,
    "max_grad_norm": "Use clip_norm.",
    "metric_for_best_model": _MONITOR,
    "no_cuda": "Use accelerator='cpu'.",
    "num_train_epochs": _EPOCHS,
    "optim": _OPTIMIZER,
    "output_dir": _RUN_DIR,
    "overwrite_output_dir": "A folder that holds a run is gone on with, or refused with resume='never'; give another run_dir.",
    "per_device_eval_batch_size": _LOADER,
    "per_device_train_batch_size": _LOADER,
    "report_to": _LOGGER,
    "save_steps": _SAVE,
    "save_strategy": _SAVE,
    "save_total_limit": "Use keep.",
    "torch_compile": "Use compile=True.",
    "train_loader": _TRAIN_DATA,
    "train_dataset": "Use train_data, the first argument: DataLoader(dataset, batch_size=32, shuffle=True).",
    "use_cpu": "Use accelerator='cpu'.",
    "warmup_ratio": _WARMUP,
    "warmup_steps": _WARMUP,
    # Keras, fastai and what is guessed
    "amp": "Use accelerator='amp'.",
    "batch_size": _LOADER,
    "checkpoint_dir": _RUN_DIR,
    "checkpoint_path": _RESUME,
    "class_weight": "It belongs to the loss, in training_step.",
    "clip": _CLIP,
    "collate_fn": _LOADER,
    "cuda": "Use accelerator='cuda'.",
    "device": "Use accelerator, such as 'cpu', 'cuda' or 'cuda:1'.",
    "early_stopping": "Use handlers=[EarlyStopping(...)].",
    "epochs": _EPOCHS,
    "initial_epoch": _RESUME,
    "iterations": _ITERS,
    "learning_rate": _OPTIMIZER,
    "log_interval": "Use log_every.",
    "loss": "It belongs to the module: training_step returns the loss.",
    "loss_fn": "It belongs to the module: training_step returns the loss.",
    "lr": _OPTIMIZER,
    "max_epoch": _EPOCHS,
    "metrics": _METRICS,
    "mixed_precision": _PRECISION,
    "n_epochs": _EPOCHS,
    "num_epochs": _EPOCHS,
    "num_iters": _ITERS,
    "num_workers": _LOADER,
    "optimizer": _OPTIMIZER,
    "optimizers": _OPTIMIZER,
    "random_state": "Use seed.",
    "save_dir": _RUN_DIR,
    "scheduler": _SCHEDULER,
    "shuffle": _LOADER,
    "steps": _ITERS,
    "steps_per_epoch": "Use epoch_length.",
    "test_data": "It belongs to evaluate: model.evaluate(test_data).",
    "val_loader": _VAL_DATA,
    "valid_loader": _VAL_DATA,
    "validation_data": _VAL_DATA,
    "validation_freq": _VALIDATE,
    "validation_split": "Split the dataset with torch.utils.data.random_split and give the second part as val_data.",
    "validation_steps": "Use limit_val_batches.",
    "verbose": "Use progress.",
    "weight_decay": _OPTIMIZER,
}
"""For `fit`: the remedy by name."""

FOREIGN_ARGUMENTS: dict[str, str] = {
    "batch_size": "It belongs to the DataLoader, which is the first argument.",
    "ckpt_path": "Use weights.",
    "dataloader": _DATA_OF_CALL,
    "dataloaders": _DATA_OF_CALL,
    "device": FOREIGN_SETTINGS["device"],
    "devices": _DEVICES,
    "gpus": _DEVICES,
    "limit_predict_batches": _LIMIT,
    "limit_test_batches": _LIMIT,
    "limit_train_batches": _LIMIT,
    "limit_val_batches": _LIMIT,
    "logger": "Use loggers, of evaluate: loggers=[CSVLogger()].",
    "metrics": _METRICS,
    "num_workers": "It belongs to the DataLoader, which is the first argument.",
    "steps": _LIMIT,
    "test_data": _DATA_OF_CALL,
    "val_data": _DATA_OF_CALL,
}
"""For `evaluate` and `predict`: the remedy by name."""
