# SPDX-License-Identifier: Apache-2.0
from spack.package import *


class Tessera(CMakePackage):
    """Trains, evaluates and decodes mixtures of tasks on shared foundation models, on CPU clusters under mpirun."""

    license("Apache-2.0")

    # Of the tree that this file is in; a site that mirrors releases adds versions with their checksums.
    version("main", branch="main", git="file://" + join_path(__file__, "..", "..", "..", "..", ".."))

    variant("onednn", default=True, description="matrix products and attention by oneDNN where that is faster")

    depends_on("c", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi@3.1:")
    depends_on("openblas threads=none")
    depends_on("hdf5@1.10:+mpi")
    depends_on("netlib-scalapack")
    depends_on("libyaml")
    depends_on("jansson")
    depends_on("pcre2")
    depends_on("utf8proc")
    depends_on("zlib-api")
    depends_on("protobuf-c")
    depends_on("onednn@2.6: cpu_runtime=omp", when="+onednn")

    def cmake_args(self):
        return [self.define("BUILD_TESTING", False)]
