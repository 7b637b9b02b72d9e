from search.objectives.families import families_text


def test_which_architecture_is_on_the_front_at_which_size():
    front = [("ResNet", 2000), ("ResNet", 3500), ("MobileNetV2", 9000), ("ResNet", 40_000)]
    assert families_text(front) == (
        "Along the front: ResNet up to 3.5 kB, then MobileNetV2 up to 9 kB, then ResNet up to 40 kB"
    )
    assert families_text(front[:2]) == families_text([]) == ""
