"""Crops and reflections against NumPy's, of images whose pixels tell where they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax.tasks import Augment

HEIGHT, WIDTH, NUMBER = 5, 7, 400


def images():
    """Every pixel a different number from 1 on, two channels."""
    pixels = 1 + np.arange(HEIGHT * WIDTH * 2, dtype=np.uint8)
    return np.tile(pixels.reshape(1, HEIGHT, WIDTH, 2), (NUMBER, 1, 1, 1))


def augmented(augment, seed=0):
    return np.asarray(jax.jit(augment.apply)(jax.random.key(seed), images()))


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("flip", [False, True])
def test_every_image_is_one_of_the_crops_and_all_come_equally_often(padding, flip):
    image = images()[0]
    edges = (padding, padding)
    crops = {}
    for mirrored in (False, True)[: 1 + flip]:
        source = image[:, ::-1] if mirrored else image
        padded = np.pad(source, (edges, edges, (0, 0)))
        for top in range(2 * padding + 1):
            for left in range(2 * padding + 1):
                crop = padded[top : top + HEIGHT, left : left + WIDTH]
                crops[crop.tobytes()] = 0
    found = augmented(Augment(padding, flip))
    assert found.dtype == np.uint8
    for one in found:
        assert one.tobytes() in crops
        crops[one.tobytes()] += 1
    counts, expected = np.array(list(crops.values())), NUMBER / len(crops)
    degrees = len(crops) - 1
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 <= degrees + 4 * np.sqrt(2 * degrees)


def test_another_key_gives_other_crops():
    assert (augmented(Augment(2), 0) != augmented(Augment(2), 1)).any()


def test_nothing_to_do_changes_nothing():
    np.testing.assert_array_equal(augmented(Augment(padding=0)), images())


def test_a_batch_is_augmented_and_the_test_part_is_not():
    data = tele.tasks.datasets.digits()
    split = tele.tasks.partition.iid(data.train_labels, 3, seed=0)
    model = tele.tasks.models.by_name("softmax")

    def task(augment):
        return tele.tasks.classification(
            data, split, model, batch_size=64, augment=augment
        )

    plain, other = (
        task(augment).sample(jax.random.key(0), jnp.int32(1), None)
        for augment in (Augment(0), Augment(2))
    )
    np.testing.assert_array_equal(plain[1], other[1])
    assert (plain[0] != other[0]).any()
    params = model.init(jax.random.key(0), data.train_inputs[:1])
    np.testing.assert_array_equal(
        task(None).evaluate(params)["test_loss"],
        task(Augment(2)).evaluate(params)["test_loss"],
    )


def test_what_is_no_image_is_refused():
    data = tele.tasks.datasets.digits()
    flat = data._replace(
        train_inputs=data.train_inputs.reshape(-1, 64),
        test_inputs=data.test_inputs.reshape(-1, 64),
    )
    split = tele.tasks.partition.iid(data.train_labels, 3, seed=0)
    with pytest.raises(ValueError, match=r"augment needs images .*\(1437, 64\)"):
        tele.tasks.classification(
            flat,
            split,
            tele.tasks.models.by_name("softmax"),
            batch_size=8,
            augment=Augment(),
        )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"augment": Augment(-1)}, r"^Augment: got padding=-1, expected an integer"),
        ({"augment": Augment(1.5)}, r"^Augment: got padding=1.5"),
        ({"augment": "crop"}, r"got augment='crop', expected tasks.Augment"),
        ({"epoch_key": 0}, r"got epoch_key=0, expected jax.random.key"),
    ],
)
def test_wrong_options_are_refused(options, match):
    data = tele.tasks.datasets.digits()
    split = tele.tasks.partition.iid(data.train_labels, 3, seed=0)
    model = tele.tasks.models.by_name("softmax")
    with pytest.raises(ValueError, match=match):
        tele.tasks.classification(data, split, model, batch_size=8, **options)
