#!/bin/bash
# A run on Slurm, resumed wherever it was stopped:
#   sbatch --nodes=2 slurm.sh cola /shared/runs/cola train.batch_size=256
# The run folder is on a disk that all machines see. Preempted, or near its time limit, the run saves and exits with 75; the job is then
# queued again and goes on. Any other failure stays a failure.
#SBATCH --job-name=finetune
#SBATCH --nodes=1
#SBATCH --gpus-per-node=8
# A task is a process of the run, and has a GPU.
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
# To every process, this long before the limit: a step, a dev score and a checkpoint have to fit in.
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=finetune-%j.log
set -uo pipefail
recipe=${1:?usage: sbatch slurm.sh RECIPE RUN_FOLDER [KEY=VALUE ...]}
out=${2:?usage: sbatch slurm.sh RECIPE RUN_FOLDER [KEY=VALUE ...]}
shift 2

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
export WORLD_SIZE=$SLURM_NTASKS OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# A signal to this script is for the processes, whose end it waits for.
trap : TERM
# srun keeps exit codes, which torchrun and accelerate launch turn into 1. The first process to end leaves the others a minute.
srun --kill-on-bad-exit=0 --wait=60 bash -c 'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID exec finetune run "$@"' finetune \
  --out "$out" --resume=auto -- "$recipe" "$@"
code=$?
if [ "$code" -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
