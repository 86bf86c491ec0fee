"""The command line on CPU processes that accelerate takes for accelerators, since it cuts weights over nothing else.

Leaves in a file how accelerate distributed the run.
"""

import os
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from finetune.exits import main

torch.distributed.init_process_group("gloo")
PartialState._prepare_backend = lambda self, cpu, sagemaker=False, backend=None: ("gloo", DistributedType.MULTI_GPU)  # type: ignore[method-assign]
try:
    main()
finally:
    found = AcceleratorState._shared_state.get("distributed_type", DistributedType.NO)
    Path(f"distributed-{os.environ['RANK']}").write_text(found.value, encoding="utf-8")
