"""Published numbers by paper: every one, measured or not, with the varied value."""

from capsbench.reporting.tables.paper_tables import NOT_RUN, paper_of, papers
from capsbench.schema import benchmark_names, load_benchmark


def test_every_published_number_is_in_the_table_of_its_paper():
    by_paper = {paper.name: paper for paper in papers([])}
    for name in benchmark_names():
        for entry in load_benchmark(name).published:
            paper = by_paper[paper_of(entry.source)]
            assert paper.measured.rows == ()
            assert any(
                row.cells[0] == name and row.cells[3] == entry.printed and row.cells[4:6] == NOT_RUN
                for row in paper.not_run.rows
            )
            assert name in [benchmark.name for benchmark in paper.benchmarks]


def test_differences_name_the_varied_value_and_have_two_digits():
    rows = [row.cells for paper in papers([]) for row in paper.not_run.rows]
    own = [row for row in rows if row[0] == "smallnorb-routings" and " minus " in str(row[1])]
    assert own
    assert all(" at azimuth" in str(row[1]) or " at elevation" in str(row[1]) for row in own)
    assert len({row[:3] for row in own}) == len(own)
    mnist = [row for row in rows if row[0] == "mnist" and " minus " in str(row[1])]
    assert {str(row[3]) for row in mnist} > {"0.05 pts"}
