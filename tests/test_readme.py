"""The README's example runs and says what it is there to say."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_more_tokens_bring_the_example_closer_to_the_optimum(capsys):
    example = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[0]
    exec(example, {})
    excess = [float(x) for x in re.findall(r"excess (\S+)", capsys.readouterr().out)]
    assert len(excess) == 3
    # The variance of the mean of k tokens is that of one over k; k is 4, 16, 64.
    assert excess[0] > 2 * excess[1] > 4 * excess[2] > 0
