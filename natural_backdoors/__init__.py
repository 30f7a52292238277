"Find objects in an image dataset that could already serve as a physical backdoor trigger, and measure whether they work"
__version__ = "0.1.0"

from importlib import import_module as _import_module

# Names of the front door and the module each is in. They are loaded when first touched, so that the package is light to
# import, and torch and fastai are loaded only with a name that trains.
_MODULE_OF = {
    "UserError": "base.errors", "MissingPackage": "base.errors",
    "make_scenes": "data.scenes", "scene_labels": "data.scenes",
    "Dataset": "data.datasets", "available": "data.datasets", "open_dataset": "data.datasets", "open_seen": "data.kinds",
    "check_manager": "data.check",
    "LabelMatrix": "data.labels",
    "TableDataset": "data.table", "MultiHot": "data.multihot", "CelebA": "data.multihot",
    "OpenImages": "data.openimages", "OpenImagesLabels": "data.openimages_labels",
    "ImageNetReaL": "data.imagenet", "ImageNetReLabel": "data.relabel",
    "Coco": "data.coco", "Lvis": "data.coco", "PascalVOC": "data.voc", "Yolo": "data.yolo",
    "HuggingFace": "data.huggingface", "FiftyOne": "data.fiftyone",
    "Overlaps": "graph.overlaps", "count_overlaps": "graph.overlaps", "load_overlaps": "graph.overlaps", "shard_overlaps": "graph.shards",
    "CoGraph": "graph.cograph", "co_graph": "graph.cograph",
    "draw_neighborhood": "graph.pictures",
    "draw_heat_map": "graph.heatmap",
    "expose": "sets.exposure", "Exposure": "sets.exposure",
    "pseudo_labels": "train.labeling", "PseudoLabels": "data.found_labels", "corrected_overlaps": "graph.corrected",
    "audit": "report.audits", "Audit": "report.audits", "write_audit": "report.audit_page",
    "Triggers": "sets.triggers", "find_triggers": "sets.triggers", "load_triggers": "sets.triggers",
    "find_pairs": "sets.combinations", "disjoint_triggers": "sets.combinations", "compare_measures": "sets.comparison",
    "Selection": "split.selection", "SplitSettings": "split.settings", "SearchSettings": "sets.search",
    "export_split": "split.export", "load_export": "split.export", "dataset_card": "split.card",
    "read_sets": "split.set_files", "find_duplicates": "split.duplicates", "write_duplicates": "report.duplicates", "write_labels": "report.label_page",
    "PoisonSplit": "split.poison", "poison_split": "split.poison", "write_datafile": "split.poison",
    "Recipe": "train.recipe", "make_learner": "train.learner", "train_split": "train.runs",
    "load_model": "train.models",
    "evaluate_run": "train.evaluation", "comparison_table": "train.evaluation",
    "make_grid": "train.grids", "RunSettings": "train.grids",
    "sweep": "train.sweeps", "sweep_on": "train.cluster", "load_sweep": "train.studies", "sweep_run": "train.sweep_runs",
    "study": "train.studies",
    "screen": "train.screening", "plan_screen": "train.screening", "train_backbone": "train.screening",
    "load_screen": "train.screen_results",
    "Evidence": "base.verdicts", "verdict": "base.verdict_words", "verdict_over_runs": "base.verdict_words",
    "kind_over_runs": "base.verdicts",
    "accidental_images": "split.accidental", "measure_accidental": "train.accidental_rates",
    "trigger_boxes": "split.visibility", "success_by_visibility": "split.visibility",
    "Defense": "defend.defenses", "panel": "defend.panel_run", "load_panel": "defend.panel_file",
    "write_defenses": "report.defense_page",
    "reproduce": "paper.experiments",
    "TriggerPicker": "pick.app", "write_report": "report.report", "report_run": "report.run_of_sweep",
    "report_sweep": "report.study_page", "write_study": "report.study_page", "write_screening": "report.screen_page",
}
__all__ = list(_MODULE_OF)


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
