"""python -m finetune."""

from finetune.exits import main

if __name__ == "__main__":
    main()
