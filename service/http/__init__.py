"""HTTP below the routes: errors, guards, files, connections and certificates."""
