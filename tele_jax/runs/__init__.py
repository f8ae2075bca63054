"""Runs on disk: the folder of a run, and what is known of how it was made.

Needs the extra ``experiments``; ``import tele_jax`` does not import it.
"""

from tele_jax.runs import _needed as _needed
from tele_jax.runs.directory import RunDirectory as RunDirectory
from tele_jax.runs.directory import open_folder as open_folder
from tele_jax.runs.provenance import config_to_json as config_to_json
from tele_jax.runs.provenance import digest as digest
from tele_jax.runs.provenance import digest_of_code as digest_of_code
from tele_jax.runs.provenance import environment as environment
from tele_jax.runs.provenance import fingerprint as fingerprint
from tele_jax.runs.provenance import load_config as load_config
