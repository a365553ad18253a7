"""Tracks: held out whole, the same share of every class."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trainer.data.listings import Listed
from trainer.data.tracks import group_of, spread

tracks_by_class = st.dictionaries(
    st.integers(0, 42), st.integers(1, 30), min_size=1, max_size=8
)


def frames(tracks: dict[int, int], *, a_track: int = 3) -> list[Listed]:
    return [
        Listed(path=f"{c}/{t}_{f}", label=c, group=group_of(c, t))
        for c, n in tracks.items()
        for t in range(n)
        for f in range(a_track)
    ]


@given(tracks_by_class, st.randoms(use_true_random=False))
def test_every_image_is_there_once_and_tracks_stay_together(
    tracks: dict[int, int], random: object
) -> None:
    images = frames(tracks)
    shuffled = list(images)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    ordered = spread(shuffled)

    assert Counter(ordered) == Counter(images)
    assert ordered == spread(images)  # whatever the order they came in
    groups = [image.group for image in ordered]
    assert groups == [group for group in dict.fromkeys(groups) for _ in range(3)]


@given(tracks_by_class, st.floats(0.05, 0.95))
def test_whatever_is_held_out_has_the_same_share_of_every_class(
    tracks: dict[int, int], share: float
) -> None:
    ordered = list(dict.fromkeys(image.group for image in spread(frames(tracks))))
    last = ordered[round(len(ordered) * (1 - share)) :]

    held_out = Counter((group or 0) // group_of(1, 0) for group in last)

    # beside rounding, each class gives what its size asks for
    for class_, n in tracks.items():
        assert abs(held_out[class_] - n * len(last) / len(ordered)) <= 1.5


def test_the_order_is_not_that_of_the_recording() -> None:
    groups = [image.group for image in spread(frames({14: 26}, a_track=1))]

    assert groups != sorted(groups, key=lambda group: group or 0)
    assert groups[:3] == [1400012, 1400013, 1400011]
