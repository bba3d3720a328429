SELECT notifiws.watch('ventas', 'sales');
SELECT notifiws.watch('stock', 'stock');
SELECT notifiws.watch('productos', 'products');
