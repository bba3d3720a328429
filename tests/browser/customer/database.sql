-- The customer's own database side, literally, after the table it is about.
CREATE TABLE ventas (
    id       serial PRIMARY KEY,
    producto text NOT NULL,
    cantidad int NOT NULL,
    total    numeric(12, 2) NOT NULL
);

CREATE OR REPLACE FUNCTION notify_new_sale() RETURNS trigger AS $$
BEGIN
  PERFORM pg_notify('sales_channel', row_to_json(NEW)::text);
  RETURN NEW;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER new_sale_trigger AFTER INSERT ON ventas FOR EACH ROW EXECUTE FUNCTION notify_new_sale();

-- All that it takes to bring it to the browser.
SELECT notifiws.adopt('sales_channel', 'sales');
