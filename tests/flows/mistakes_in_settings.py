"""Mistakes in what fit is told: found before anything is read, and before anything is written."""

import torch
from mistakes import Net, batches, mistake, watch

from framework import AcceleratorError, CheckpointError, CSVLogger, Events, ModuleError, ResumeError, SettingError
from framework.handlers import EMA, EarlyStopping


@mistake(SettingError, "max_epochs='3'", "a whole number of at least 1", "(str)")
def epochs_as_text(run_dir):
    watch(Net()).fit(batches(), max_epochs="3", run_dir=run_dir)


@mistake(SettingError, "max_epochs=2.5", "a whole number", "(float)")
def half_an_epoch(run_dir):
    watch(Net()).fit(batches(), max_epochs=2.5, run_dir=run_dir)


@mistake(SettingError, "max_epochs=0", "at least 1")
def no_epoch(run_dir):
    watch(Net()).fit(batches(), max_epochs=0, run_dir=run_dir)


@mistake(SettingError, "fit needs an end", "max_epochs, max_iters or max_time_s")
def no_end(run_dir):
    watch(Net()).fit(batches(), run_dir=run_dir)


@mistake(SettingError, "fit has no setting 'epochs'", "Use max_epochs")
def setting_of_keras(run_dir):
    watch(Net()).fit(batches(), epochs=3, run_dir=run_dir)


@mistake(SettingError, "fit has no setting 'max_epocs'", "Did you mean max_epochs?")
def misspelt_setting(run_dir):
    watch(Net()).fit(batches(), max_epocs=3, run_dir=run_dir)


@mistake(SettingError, "fit has no setting 'gradient_clip_val'", "Use clip_norm")
def setting_of_lightning(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, gradient_clip_val=1.0, run_dir=run_dir)


@mistake(SettingError, "has no setting 'batch_size'", "It belongs to the DataLoader")
def batch_size_for_fit(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, batch_size=32, run_dir=run_dir)


@mistake(SettingError, "fit has no setting 'val_loader'", "Use val_data, the second argument")
def misspelt_validation_data(run_dir):
    watch(Net()).fit(batches(), val_loader=batches(), max_epochs=1, run_dir=run_dir)


@mistake(SettingError, "has no setting 'batch_size'", "It belongs to the DataLoader")
def batch_size_for_predict(run_dir):
    watch(Net()).predict(batches(), batch_size=32)


@mistake(SettingError, "accumulate=0", "at least 1")
def accumulate_nothing(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, accumulate=0, run_dir=run_dir)


@mistake(SettingError, "clip_norm=-1", "a number above 0, or None for no limit")
def negative_clip(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, clip_norm=-1, run_dir=run_dir)


@mistake(SettingError, "clip_value='1'", "a number above 0")
def clip_as_text(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, clip_value="1", run_dir=run_dir)


@mistake(SettingError, "limit_train_batches=0.5", "a whole number of at least 1")
def half_of_the_batches(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, limit_train_batches=0.5, run_dir=run_dir)


@mistake(SettingError, "limit_val_batches=0", "a whole number of at least 1")
def validate_on_no_batch(run_dir):
    watch(Net()).fit(batches(), batches(), max_epochs=1, limit_val_batches=0, run_dir=run_dir)


@mistake(SettingError, "log_every=0", "at least 1")
def log_never(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, log_every=0, run_dir=run_dir)


@mistake(SettingError, "seed='42'", "a whole number")
def seed_as_text(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, seed="42", run_dir=run_dir)


@mistake(SettingError, "deterministic='yes'", "True or False")
def flag_as_text(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, deterministic="yes", run_dir=run_dir)


@mistake(SettingError, "nan='raise' is unknown", "'stop'", "'ignore'")
def unknown_nan_policy(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, nan="raise", run_dir=run_dir)


@mistake(SettingError, "data_order='shuffle' is unknown", "'batch', 'sample', 'loader'")
def unknown_data_order(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, data_order="shuffle", run_dir=run_dir)


@mistake(SettingError, "compile='max-autotune'", "{'mode': 'max-autotune'}")
def mode_of_compile(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, compile="max-autotune", run_dir=run_dir)


@mistake(SettingError, "epoch_length=2 and limit_train_batches=2 contradict each other", "Give one of them")
def two_lengths(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, epoch_length=2, limit_train_batches=2, run_dir=run_dir)


@mistake(AcceleratorError, "accelerator='gpu' is unknown", "Did you mean 'cuda'", "'cpu': available")
def accelerator_of_lightning(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, accelerator="gpu", run_dir=run_dir)


@mistake(AcceleratorError, "precision='16-mixed' is unknown", "Did you mean 'fp16'?")
def precision_of_lightning(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, precision="16-mixed", run_dir=run_dir)


@mistake(AcceleratorError, "accelerator='cpu:7'", "numbered from 0")
def device_that_is_not_there(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, accelerator="cpu:7", run_dir=run_dir)


@mistake(SettingError, "validate_every needs val_data", "leave validate_every out")
def validate_nothing(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, validate_every=2, run_dir=run_dir)


@mistake(SettingError, "validate_every=0.5", "Events.ITERATION_COMPLETED(every=500)")
def validate_every_half_epoch(run_dir):
    watch(Net()).fit(batches(), batches(), max_epochs=1, validate_every=0.5, run_dir=run_dir)


@mistake(SettingError, "validate_every='epoch' is no event of this run", "EPOCH_COMPLETED")
def validate_at_an_unknown_event(run_dir):
    watch(Net()).fit(batches(), batches(), max_epochs=1, validate_every="epoch", run_dir=run_dir)


@mistake(SettingError, "monitor needs val_data", "leave monitor out")
def monitor_nothing(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, monitor="val/loss", run_dir=run_dir)


@mistake(SettingError, "monitor='val_loss'", "Did you mean 'val/loss'?")
def monitor_as_in_lightning(run_dir):
    watch(Net()).fit(batches(), batches(), max_epochs=1, monitor="val_loss", run_dir=run_dir)


@mistake(SettingError, "monitor='val/score'", "mode='min' or mode='max'")
def monitor_of_unknown_direction(run_dir):
    class Mine(Net):
        def evaluation_step(self, batch):
            return {"score": self(batch[0]).mean()}

    watch(Mine()).fit(batches(), batches(), max_epochs=1, monitor="val/score", run_dir=run_dir)


@mistake(SettingError, "mode='maximum'", "'min' or 'max'")
def unknown_mode(run_dir):
    watch(Net()).fit(batches(), batches(), max_epochs=1, monitor="val/loss", mode="maximum", run_dir=run_dir)


@mistake(SettingError, "monitor='val/accuracy'", "no such metric", "'val/loss'", found="run", steps=3)
def monitor_that_no_metric_gives(run_dir):
    watch(Net()).fit(batches(), batches(), max_epochs=2, monitor="val/accuracy", mode="max", run_dir=run_dir)


@mistake(SettingError, "monitor='val/acc'", "no such metric", "'val/loss'", found="run", steps=3)
def early_stopping_on_no_metric(run_dir):
    stopping = EarlyStopping("val/acc", mode="max")
    watch(Net()).fit(batches(), batches(), max_epochs=2, handlers=[stopping], run_dir=run_dir)


@mistake(SettingError, "save_every=", "needs run_dir, the folder", "Give run_dir")
def save_nowhere(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, save_every=Events.ITERATION_COMPLETED(every=2))


@mistake(SettingError, "keep=0", "at least 1")
def keep_nothing(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, keep=0, run_dir=run_dir)


@mistake(SettingError, "resume=True", "'auto', 'never', 'must'")
def resume_as_a_flag(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, resume=True, run_dir=run_dir)


@mistake(ResumeError, "resume='must'", "no run with a checkpoint", "leave resume out")
def resume_what_never_was(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, resume="must", run_dir=run_dir)


@mistake(CheckpointError, "last.ckpt is neither a run, nor a checkpoint", "Give the run_dir of fit")
def resume_from_a_file_that_is_not_there(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, resume="last.ckpt", run_dir=run_dir)


class Tell:
    def on_epoch_completed(self, engine):
        self.epoch = engine.state.epoch


@mistake(SettingError, "handlers should be a list of objects", "on_<event>")
def handler_without_a_list(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, handlers=Tell(), run_dir=run_dir)


@mistake(SettingError, "got the class Tell", "Write Tell(...)")
def handler_class(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, handlers=[Tell], run_dir=run_dir)


@mistake(SettingError, "has no on_<event> method", "it would never run")
def handler_as_a_function(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, handlers=[print], run_dir=run_dir)


@mistake(SettingError, "has state_dict but no load_state_dict", "Define both, or neither")
def handler_with_half_of_a_state(run_dir):
    class Count(Tell):
        def state_dict(self):
            return {"epoch": self.epoch}

    watch(Net()).fit(batches(), max_epochs=1, handlers=[Count()], run_dir=run_dir)


@mistake(ModuleError, "on_validation_end is no hook", "on_evaluation_completed")
def handler_with_a_hook_of_lightning(run_dir):
    class Stop:
        def on_validation_end(self, trainer, module): ...

    watch(Net()).fit(batches(), max_epochs=1, handlers=[Stop()], run_dir=run_dir)


@mistake(SettingError, "so its hooks would run twice", "Leave one out")
def handler_given_twice(run_dir):
    ema = EMA(0.9)
    watch(Net()).fit(batches(), max_epochs=1, handlers=[ema, ema], run_dir=run_dir)


@mistake(SettingError, "handlers holds the module itself", "Leave it out")
def module_among_its_handlers(run_dir):
    class Mine(Net):
        def on_epoch_completed(self, engine): ...

    net = watch(Mine())
    net.fit(batches(), max_epochs=1, handlers=[net], run_dir=run_dir)


@mistake(SettingError, "decay=1.5", "a number from 0 to below 1")
def average_beyond_one(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, handlers=[EMA(1.5)], run_dir=run_dir)


@mistake(SettingError, "patience=0", "at least 1")
def no_patience(run_dir):
    watch(Net()).fit(batches(), batches(), max_epochs=1, handlers=[EarlyStopping("val/loss", patience=0)], run_dir=run_dir)


@mistake(SettingError, "clip_norm", "a number above 0")
def clip_as_a_tensor(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, clip_norm=torch.tensor([1.0, 2.0]), run_dir=run_dir)


@mistake(SettingError, "loggers should be a list of loggers", "'tensorboard'", "TensorBoardLogger", "one of your own")
def logger_by_its_name(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, loggers="tensorboard", run_dir=run_dir)


@mistake(SettingError, "got the class CSVLogger", "Write CSVLogger(...)")
def logger_class(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, loggers=[CSVLogger], run_dir=run_dir)


@mistake(SettingError, "which has no begin, points, row", "inherit from framework.Logger")
def writer_as_a_logger(run_dir):
    class SummaryWriter:
        def add_scalar(self, tag, value, step): ...

        def close(self): ...

    watch(Net()).fit(batches(), max_epochs=1, loggers=[SummaryWriter()], run_dir=run_dir)


@mistake(SettingError, "fit has no setting 'logger'", "Use loggers, such as loggers=[TensorBoardLogger()]")
def logger_of_lightning(run_dir):
    watch(Net()).fit(batches(), max_epochs=1, logger=True, run_dir=run_dir)
