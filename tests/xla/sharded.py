"""The program that test_spmd runs on four virtual devices: fits, and saves what came out. Arguments: the file with the module and
the batches, the file to write."""

import sys

import torch
import torch_xla
import torch_xla.runtime
from torch_xla.distributed.spmd import wrap_if_sharded

torch_xla.runtime.use_spmd()

from on_both import Net, curve, weights  # noqa: E402  # SPMD comes before anything else

torch.set_num_threads(1)
given = torch.load(sys.argv[1], weights_only=True)
net = Net()
net.load_state_dict(given["net"])
shapes = []


class Look:
    def on_iteration_started(self, engine):
        shapes.append(
            [[tuple(shard.data.shape) for shard in wrap_if_sharded(tensor).local_shards] for tensor in engine.state.batch]
        )


result = net.fit(
    given["batches"],
    given["batches"][:2],
    max_epochs=2,
    accelerator="tpu",
    clip_norm=0.5,
    log_every=1,
    handlers=[Look()],
    progress=False,
)
predicted = net.predict(given["batches"])
out = {"curve": curve(result), "mse": result.metrics["val/mse"], "weights": weights(net), "predicted": predicted, "shapes": shapes}
torch.save(out, sys.argv[2])
