-- Role notifiws_emitter. → there boolean, may boolean: use the schema and call emit
select to_regrole('notifiws_emitter') is not null as there,
       coalesce(has_schema_privilege(to_regrole('notifiws_emitter'), to_regnamespace('notifiws'), 'usage')
                and has_function_privilege(to_regrole('notifiws_emitter'),
                                           to_regprocedure('notifiws.emit(text,jsonb)'), 'execute'), false) as may
