from search.objectives.families import families_text


def test_which_architecture_is_on_the_front_at_which_size():
    front = [("ResNet", 2000), ("ResNet", 3500), ("MobileNetV2", 9000), ("ResNet", 40_000)]
    assert families_text(front) == (
        "Along the front: ResNet up to 3.5 kB, then MobileNetV2 up to 9 kB, then ResNet up to 40 kB"
    )
    assert families_text(front[:2]) == families_text([]) == ""


def test_architectures_that_alternate_are_told_once_each():
    front = [("ResNet" if size % 2 else "GhostNet", 1000 * size) for size in range(1, 30)]
    assert families_text(front) == ("Along the front: ResNet from 1 kB to 29 kB, GhostNet from 2 kB to 28 kB")
    assert "then" in families_text(front[:4]) and "from" in families_text(front[:5])
