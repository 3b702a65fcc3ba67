#!/bin/bash
set -euo pipefail
cat > /app/indexes.sql <<'END'
CREATE INDEX orders_customer ON orders (customer, placed);
CREATE INDEX orders_open ON orders (status, placed);
CREATE INDEX lines_article ON lines (article, number);
END
