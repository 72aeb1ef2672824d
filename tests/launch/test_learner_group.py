"""Where ranks lie."""

from sandwiching.launch.learner_group import ranks_on_own_node


def test_each_rank_knows_how_many_share_its_node() -> None:
    assert ranks_on_own_node(["a", "b", "a", "a"]) == [3, 1, 3, 3]
    assert ranks_on_own_node(["a", "b"]) == [1, 1], "DeepSpeed must not look for the other in this node's /dev/shm"
